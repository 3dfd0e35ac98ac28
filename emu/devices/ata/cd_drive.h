// SPDX-License-Identifier: GPL-2.0-or-later
//
// A CD and DVD drive that only reads, with a disc that stays in it: the packets that it takes, by
// SCSI Primary Commands 3 and MultiMedia Commands 4, and what ATA/ATAPI-6, "IDENTIFY PACKET
// DEVICE", says of it. How packets reach it is for the controller.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emu/devices/disk.h"

namespace nestor::emu {

class CdDrive {
 public:
  static constexpr uint64_t kBlockBytes = 2048;
  static constexpr size_t kPacketBytes = 12, kIdentityBytes = 512;

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

  // Throws DiskError where not even one block is on the disc.
  explicit CdDrive(std::unique_ptr<Disk> disc);

  std::array<uint8_t, kIdentityBytes> identity() const;
  Answer take(std::span<const uint8_t, kPacketBytes> packet);
  // A piece of an extent. false: the host cannot read the file; REQUEST SENSE tells that.
  [[nodiscard]] bool read(uint64_t offset, std::span<uint8_t> out);
  uint8_t sense_key() const { return sense_.key; }

  void serialize(Archive& archive) { archive(sense_); }

 private:
  struct Sense {
    uint8_t key = 0, code = 0, qualifier = 0;
    void fields(Archive& archive) { archive(key, code, qualifier); }
  };

  uint64_t blocks() const { return disc_->bytes() / kBlockBytes; }
  Answer fail(Sense sense);
  Answer reads(uint64_t block, uint64_t count);
  std::optional<std::vector<uint8_t>> table_of_contents(std::span<const uint8_t> packet) const;
  std::optional<std::vector<uint8_t>> mode_page(std::span<const uint8_t> packet) const;
  std::vector<uint8_t> configuration() const;

  const std::unique_ptr<Disk> disc_;
  Sense sense_;
};

}  // namespace nestor::emu
