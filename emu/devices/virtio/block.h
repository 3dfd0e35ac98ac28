// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio-blk: Virtual I/O Device (VIRTIO) 1.2, "Block Device".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "emu/devices/disk.h"
#include "emu/devices/virtio/function.h"

namespace nestor::emu {

class VirtioBlock final : public VirtioFunction {
 public:
  // What a request takes: some time, and more for each 4 KiB that it moves.
  static constexpr uint64_t kMicrosecond = Clock::kFrequency / 1'000'000;
  static constexpr uint64_t kRequestCycles = 50 * kMicrosecond, kCyclesPerBlock = kMicrosecond;

  // `identity`: what the guest is told when it asks for one; at most 20 characters count.
  VirtioBlock(VirtioPlace place, std::unique_ptr<Disk> disk, std::string identity);

  void serialize(Archive& archive) override {
    VirtioFunction::serialize(archive);
    disk_->serialize(archive);
  }

 private:
  uint64_t duration(unsigned /*queue*/, const VirtqueueChain& chain) const override;
  std::optional<uint32_t> serve(unsigned /*queue*/, const VirtqueueChain& chain) override;
  bool is_on_disk(uint64_t sector, uint64_t size) const;
  bool read_disk(uint64_t sector, uint64_t size, VirtqueueStream& to);
  bool write_disk(uint64_t sector, uint64_t size, VirtqueueStream& from);

  std::unique_ptr<Disk> disk_;
  const std::string identity_;
};

}  // namespace nestor::emu
