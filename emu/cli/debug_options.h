// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of `run` that let GDB debug the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "emu/cli/complaint.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct RunOptions;

// Where GDB finds the run.
struct GdbAddress {
  enum class Kind : uint8_t { kTcp, kUnix, kStdio } kind = Kind::kStdio;
  std::string host{};  // kTcp
  uint16_t port = 0;   // kTcp; 0: one that is free
  std::string path{};  // kUnix
};

// "HOST:PORT", "unix:PATH" or "stdio". HOST is a name or a number, IPv6 in brackets; empty: the
// loopback. A complaint is one line without the option's name.
[[nodiscard]] std::variant<GdbAddress, std::string> parse_gdb_address(const std::string& text);

struct DebugRun {
  std::optional<GdbAddress> gdb;
  bool stopped = false;  // nothing is executed before GDB is there
};

class DebugOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing, once the other options are in their places; the outputs come after it.
  [[nodiscard]] Complaint read(const CLI::App& run, RunOptions& options) const;

 private:
  std::string gdb_;
  bool stopped_ = false;
};

}  // namespace nestor::emu
