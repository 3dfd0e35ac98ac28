// SPDX-License-Identifier: GPL-2.0-or-later
//
// A drive that takes ATA commands, as a port of a controller sees it: registers with a command come
// in, data go to or fro, and registers that say how it ended come out. ATA8-ACS has the commands.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "emu/memory/archive.h"

namespace nestor::emu {

// A command as the host has written it.
struct AtaCommand {
  static constexpr size_t kPacketBytes = 12;

  uint8_t code = 0, device = 0;
  uint16_t features = 0, count = 0;  // the upper bytes are those of 48-bit commands
  uint64_t lba = 0;                  // 48 bits
  bool to_drive = false;             // what the controller was told of the data
  std::array<uint8_t, kPacketBytes> packet{};

  // READ or WRITE FPDMA QUEUED.
  bool is_queued() const { return (code & 0xfe) == 0x60; }
  unsigned tag() const { return count >> 3 & 0x1f; }
};

// What a drive's registers hold when a command has ended.
struct AtaRegisters {
  static constexpr uint8_t kFailed = 1u << 0, kReady = 0x50;  // of `status`
  static constexpr uint8_t kAborted = 1u << 2, kNoSuchAddress = 1u << 4,
                           kUncorrectable = 1u << 6;  // of `error`

  uint8_t status = kReady, error = 0, device = 0;
  uint16_t count = 0;
  uint64_t lba = 0;

  bool failed() const { return (status & kFailed) != 0; }
  void fields(Archive& archive) { archive(status, error, device, count, lba); }
};

// What a drive answers to a command: the registers at once, if it has failed or has no data, or
// else what is moved.
struct AtaAnswer {
  enum class End : uint8_t { kRegisters, kPio, kQueue };

  AtaRegisters registers{};
  End end = End::kRegisters;
  std::vector<uint8_t> data{};     // to the host,
  uint64_t offset = 0, bytes = 0;  // or a piece of the medium,
  bool to_drive = false;           // which is written
  uint32_t block_bytes = 0;        // what PIO moves at a time

  uint64_t size() const { return data.size() + bytes; }
};

class AtaDrive {
 public:
  // How the moving of data ended: where there is too little, the host has not named enough memory.
  enum class Moved : uint8_t { kAll, kTooLittle, kMediumFailed };

  virtual ~AtaDrive() = default;

  virtual void reset() = 0;
  // After power-on or a reset; they tell what kind of drive it is. So does the signature, as a
  // controller shows it.
  virtual AtaRegisters registers_after_reset() const = 0;
  virtual uint32_t signature() const = 0;
  virtual bool has_queue() const = 0;
  // What a command takes on the machine's clock.
  virtual uint64_t cycles(const AtaCommand& command) const = 0;
  // Executes it, but for its data.
  virtual AtaAnswer take(const AtaCommand& command) = 0;
  // What lies in the piece of an answer. false: the host cannot read or write the file.
  [[nodiscard]] virtual bool read(uint64_t offset, std::span<uint8_t> out) = 0;
  [[nodiscard]] virtual bool write(uint64_t offset, std::span<const uint8_t> data) = 0;
  // After that: so many bytes of what `take` has answered were moved.
  virtual AtaRegisters finish(const AtaCommand& command, Moved moved, uint64_t bytes) = 0;
  virtual void serialize(Archive& archive) = 0;

 protected:
  // A string of IDENTIFY: words of two characters, the first in the high byte.
  static void set_text(std::span<uint8_t> words, std::string_view text) {
    for (size_t i = 0; i < words.size(); ++i)
      words[i ^ 1] = static_cast<uint8_t>(i < text.size() ? text[i] : ' ');
  }
};

}  // namespace nestor::emu
