// SPDX-License-Identifier: GPL-2.0-or-later
//
// A parallel flash memory of 8 bits with Intel's command set: Common Flash Memory Interface (JEDEC
// JESD68.01), and "Intel StrataFlash Embedded Memory", command definitions. Its content is a file.
// As of QEMU's flash, clearing the status register clears bit 7 too, by which OVMF recognises it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "emu/devices/bus.h"
#include "emu/devices/disk.h"

namespace nestor::emu {

class ParallelFlash final : public Device {
 public:
  static constexpr uint64_t kSectorBytes = 4096;  // what is erased at once
  static constexpr uint64_t kBufferBytes = 256;   // of a buffered write
  static constexpr uint64_t kMostBytes = 8 << 20;

  // Bits of the status register.
  static constexpr uint8_t kReady = 0x80, kEraseError = 0x20, kProgramError = 0x10;

  // It has the size of the file, a multiple of kSectorBytes up to kMostBytes. Where the file is not
  // writable, what is written stays in memory. Throws DiskError.
  explicit ParallelFlash(const DiskConfig& config);

  std::span<const Region> regions() const override { return {&region_, 1}; }
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  // One cycle: a command is the lowest byte, data are all of them.
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;

  // A loaded flash has the saved content. The file gets it when the guest writes next.
  void serialize(Archive& archive) override;

 private:
  // What a read meets, and what the next write is.
  enum class Mode : uint8_t {
    kArray,
    kIdentifiers,
    kQuery,
    kStatus,
    // These read as the status.
    kProgram,
    kErase,
    kLock,
    kBufferCount,
    kBufferData,
    kBufferConfirm,
    kLast = kBufferConfirm,
  };

  struct State {
    Mode mode = Mode::kArray;
    uint8_t status = kReady;
    bool buffer_is_bad = false;  // data beyond the buffer
    bool buffer_is_new = false;  // no data yet: its place is not known
    uint16_t buffer_left = 0;    // bytes that are yet to come
    uint64_t buffer_base = 0;    // where the buffer goes, a multiple of its size
    bool file_differs = false;   // from the content, since a load
    std::array<uint8_t, kBufferBytes> buffer{};

    void fields(Archive& archive) {
      archive(mode, status, buffer_is_bad, buffer_is_new, buffer_left, buffer_base, file_differs,
              buffer);
    }
  };

  uint8_t read_byte(uint64_t offset) const;
  void command(uint8_t code);
  void continue_buffered_write(uint64_t offset, unsigned size, uint64_t value);
  // Bits become 0 where `data` has 0.
  void program(uint64_t offset, std::span<const uint8_t> data);
  void erase(uint64_t offset);
  // A command that does not follow on the one before.
  void refuse_sequence();
  // The file gets what is there, and all of it where it differs since a load. Otherwise `error`
  // is set.
  void store(uint64_t offset, uint64_t size, uint8_t error);

  Disk file_;
  const bool writable_;
  std::vector<uint8_t> content_;
  const Region region_;
  State state_;
};

}  // namespace nestor::emu
