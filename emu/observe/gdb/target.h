// SPDX-License-Identifier: GPL-2.0-or-later
//
// A stopped machine as GDB's protocol sees it. Processors count from 0.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {

enum class Direction : uint8_t { kForward, kBackward };

struct GdbResume {
  Direction direction = Direction::kForward;
  std::optional<unsigned> step{};  // one instruction of this processor; else until something stops
};

// By the numbers of the packets Z and z.
enum class GdbPoint : uint8_t {
  kSoftwareBreakpoint,
  kHardwareBreakpoint,
  kWriteWatchpoint,
  kReadWatchpoint,
  kAccessWatchpoint,
};

// GDB's numbers.
inline constexpr uint8_t kSigint = 2, kSigtrap = 5, kSigabrt = 6;

struct GdbStop {
  enum class Why : uint8_t {
    kSignal,
    kBreakpoint,
    kWatchpoint,
    kNoHistory,     // going back has come to where the history begins
    kEnded,         // the run is over
    kDisconnected,  // the client has gone while the machine ran
  } why = Why::kSignal;
  uint8_t signal = kSigtrap;
  unsigned processor = 0;
  GdbPoint point{};      // kBreakpoint, kWatchpoint
  uint64_t address = 0;  // kWatchpoint
  int status = 0;        // kEnded: the exit status of the process
  std::string text{};    // for the user; lines that end in newlines, or nothing
};

class GdbTarget {
 public:
  virtual ~GdbTarget() = default;

  virtual unsigned processors() const = 0;
  // One line: whose code runs there, and in which mode.
  virtual std::string describe(unsigned processor) const = 0;
  virtual bool can_go_back() const = 0;

  // Registers as target_description() numbers them, little-endian. Empty: no such register.
  virtual std::string target_description() const = 0;
  virtual size_t registers() const = 0;
  virtual std::vector<uint8_t> read_register(unsigned processor, size_t number) const = 0;
  // Returns why it was not written, in a few words; empty: it was.
  virtual std::string write_register(unsigned processor, size_t number,
                                     std::span<const uint8_t> value) = 0;

  // How many bytes from `address` on could be read or written.
  virtual size_t read_memory(unsigned processor, uint64_t address,
                             std::span<uint8_t> out) const = 0;
  virtual size_t write_memory(unsigned processor, uint64_t address,
                              std::span<const uint8_t> data) = 0;

  // false: there can be no such point.
  virtual bool insert(unsigned processor, GdbPoint point, uint64_t address, uint64_t size) = 0;
  virtual bool remove(unsigned processor, GdbPoint point, uint64_t address, uint64_t size) = 0;

  // Runs until something stops the machine.
  virtual GdbStop resume(const GdbResume& how) = 0;
  // A command of the user for us. Returns the answer: lines that end in newlines.
  virtual std::string monitor(unsigned processor, std::string_view command) = 0;
};

}  // namespace nestor::emu
