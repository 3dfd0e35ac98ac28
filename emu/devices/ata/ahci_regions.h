// SPDX-License-Identifier: GPL-2.0-or-later
//
// The memory that a command of AHCI names for its data: regions, one after another. Serial ATA AHCI
// 1.3.1, "Physical Region Descriptor Table".
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/devices/device_memory.h"

namespace nestor::emu {

class AhciRegions {
 public:
  // `table`: where the first of `count` descriptors is.
  AhciRegions(DeviceMemory& memory, uint64_t table, unsigned count)
      : memory_(memory), table_(table), left_(count) {}

  // Go on where the last one ended. Return how much was copied: less than all where the regions
  // end. std::nullopt: there is no memory.
  std::optional<size_t> scatter(std::span<const uint8_t> data);
  std::optional<size_t> gather(std::span<uint8_t> out);
  // One that was filled, or read, to its end asks for an interrupt.
  bool asked_for_interrupt() const { return asked_; }

 private:
  // Of the next `wanted` bytes those that lie together; 0: the regions end.
  std::optional<size_t> open(size_t wanted);
  void advance(size_t bytes);

  DeviceMemory& memory_;
  uint64_t table_;
  unsigned left_;
  uint64_t address_ = 0, room_ = 0;  // of the present region
  bool asks_ = false, asked_ = false;
};

}  // namespace nestor::emu
