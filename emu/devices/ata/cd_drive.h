// SPDX-License-Identifier: GPL-2.0-or-later
//
// A CD and DVD drive that only reads, with a disc that stays in it: the packets that it takes, by
// SCSI Primary Commands 3 and MultiMedia Commands 4, and what ATA/ATAPI-6, "IDENTIFY PACKET
// DEVICE", says of it. Of ATA it has PACKET, IDENTIFY PACKET DEVICE, SET FEATURES and DEVICE RESET.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emu/devices/ata/drive.h"
#include "emu/devices/disk.h"

namespace nestor::emu {

class CdDrive final : public AtaDrive {
 public:
  static constexpr uint64_t kBlockBytes = 2048;
  static constexpr size_t kIdentityBytes = 512;
  // On the machine's clock of 2 GHz: a command, and each block.
  static constexpr uint64_t kCommandCycles = 100'000, kCyclesPerBlock = 2'000;

  // Throws DiskError where not even one block is on the disc.
  explicit CdDrive(std::unique_ptr<Disk> disc);

  void reset() override {}
  AtaRegisters registers_after_reset() const override;
  uint32_t signature() const override;
  bool has_queue() const override { return false; }
  uint64_t cycles(const AtaCommand& command) const override;
  AtaAnswer take(const AtaCommand& command) override;
  [[nodiscard]] bool read(uint64_t offset, std::span<uint8_t> out) override;
  // Nothing asks for that.
  [[nodiscard]] bool write(uint64_t, std::span<const uint8_t>) override { return false; }
  AtaRegisters finish(const AtaCommand& command, Moved moved, uint64_t bytes) override;
  void serialize(Archive& archive) override { archive(sense_); }

 private:
  using Packet = std::span<const uint8_t, AtaCommand::kPacketBytes>;
  // Where it lies on the disc, in bytes.
  struct Extent {
    uint64_t offset = 0, bytes = 0;
  };
  // What a packet is answered with: bytes, or a piece of the disc. `ok` is false: an error, which
  // REQUEST SENSE tells.
  struct Answer {
    bool ok = true;
    std::vector<uint8_t> data{};
    Extent extent{};
  };
  struct Sense {
    uint8_t key = 0, code = 0, qualifier = 0;
    void fields(Archive& archive) { archive(key, code, qualifier); }
  };

  uint64_t blocks() const { return disc_->bytes() / kBlockBytes; }
  AtaRegisters registers(bool ok) const;
  std::array<uint8_t, kIdentityBytes> identity() const;
  Answer take_packet(Packet packet);
  Answer fail(Sense sense);
  Answer reads(uint64_t block, uint64_t count);
  std::optional<std::vector<uint8_t>> table_of_contents(std::span<const uint8_t> packet) const;
  std::optional<std::vector<uint8_t>> mode_page(std::span<const uint8_t> packet) const;
  std::vector<uint8_t> configuration() const;

  const std::unique_ptr<Disk> disc_;
  Sense sense_;
};

}  // namespace nestor::emu
