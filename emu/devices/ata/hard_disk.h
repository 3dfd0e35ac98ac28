// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hard disk of sectors of 512 bytes: ATA8-ACS, with 48-bit addresses, native command queueing
// (Serial ATA 2.6) and a write cache. It has no SMART, security, TRIM or host protected area, and
// no addresses of cylinders, heads and sectors.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "emu/devices/ata/drive.h"
#include "emu/devices/disk.h"

namespace nestor::emu {

class HardDisk final : public AtaDrive {
 public:
  static constexpr size_t kPageBytes = 512;  // of IDENTIFY and of a log
  // On the machine's clock of 2 GHz: a command, and each 4 KiB that it moves.
  static constexpr uint64_t kCommandCycles = 100'000, kCyclesPerBlock = 2'000;

  // `serial`: its serial number, at most 20 characters.
  HardDisk(std::unique_ptr<Disk> disk, std::string serial);

  void reset() override { state_ = State{}; }
  AtaRegisters registers_after_reset() const override;
  uint32_t signature() const override { return 0x00000101; }
  bool has_queue() const override { return true; }
  uint64_t cycles(const AtaCommand& command) const override;
  AtaAnswer take(const AtaCommand& command) override;
  [[nodiscard]] bool read(uint64_t offset, std::span<uint8_t> out) override {
    return disk_->read(offset, out);
  }
  [[nodiscard]] bool write(uint64_t offset, std::span<const uint8_t> data) override {
    return disk_->write(offset, data);
  }
  AtaRegisters finish(const AtaCommand& command, Moved moved, uint64_t bytes) override;
  void serialize(Archive& archive) override;

 private:
  using Page = std::array<uint8_t, kPageBytes>;
  static constexpr uint8_t kUltraDma5 = 0x45;

  struct State {
    uint8_t transfer_mode = kUltraDma5;  // as SET FEATURES has it
    uint8_t multiple = 0;                // sectors that READ MULTIPLE moves at a time; 0: not set
    bool write_cache = true, look_ahead = true, standby = false;
    // The queued command that has failed, until the log of it is read.
    bool queue_failed = false;
    uint8_t failed_tag = 0;
    AtaRegisters failed{};
    void fields(Archive& archive) {
      archive(transfer_mode, multiple, write_cache, look_ahead, standby, queue_failed, failed_tag,
              failed);
    }
  };
  struct Access;  // a command that reads, writes or verifies sectors
  struct Extent {
    uint64_t first, count;  // sectors
  };

  static const Access* find_access(uint8_t code);
  static Extent extent_of(const Access& access, const AtaCommand& command);
  static AtaRegisters failed(const AtaCommand& command, uint8_t error, uint64_t lba);
  static AtaRegisters aborted(const AtaCommand& command);
  static AtaAnswer page(const Page& page);

  uint64_t sectors() const { return disk_->bytes() / Disk::kSectorBytes; }
  AtaAnswer take_access(const Access& access, const AtaCommand& command);
  AtaAnswer take_other(const AtaCommand& command);
  AtaRegisters verify(Extent extent, const AtaCommand& command);
  bool set_features(const AtaCommand& command);
  bool set_transfer_mode(uint8_t mode);
  std::optional<Page> log(const AtaCommand& command);
  Page identity() const;
  // Keeps what has failed for the log.
  AtaRegisters note(const AtaCommand& command, AtaRegisters registers);

  const std::unique_ptr<Disk> disk_;
  const std::string serial_;
  State state_;
};

}  // namespace nestor::emu
