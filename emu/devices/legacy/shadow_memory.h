// SPDX-License-Identifier: GPL-2.0-or-later
//
// The memory from C0000H to FFFFFH of a PC whose firmware is in a ROM that ends at 4 GiB. Reads of
// a segment meet RAM or the ROM, writes to it meet RAM or nothing, as the host bridge says. After
// a reset all is ROM: its last 128 KiB from E0000H on, and ones below.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "emu/devices/bus.h"
#include "emu/devices/pci/host_bridge.h"

namespace nestor::emu {

// What the processor finds there at once, without asking the bus.
class VisibleMemory {
 public:
  virtual ~VisibleMemory() = default;
  // Addresses are physical ones, of ROM and of what is before it.
  virtual void read(uint64_t address, std::span<uint8_t> out) = 0;
  virtual void show(uint64_t address, std::span<const uint8_t> data) = 0;
  // Writes reach it, or the bus.
  virtual void allow_writes(uint64_t address, uint64_t size, bool allowed) = 0;
};

class ShadowMemory final : public Device {
 public:
  static constexpr uint64_t kBase = 0xc0000, kSize = 0x40000;
  static constexpr uint64_t kRomEnd = 1ull << 32, kRomWindow = 0x20000;
  static constexpr Region kRegions[] = {{Space::kMemory, kSize}};

  // `memory` shows what is there after a reset, and outlives this device.
  explicit ShadowMemory(VisibleMemory& memory);

  // What HostBridge::Shadow is told.
  void set(unsigned segment, bool reads, bool writes);

  std::span<const Region> regions() const override { return kRegions; }
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

 private:
  struct Segment {
    bool reads = false, writes = false;  // they meet RAM
    void fields(Archive& archive) { archive(reads, writes); }
  };

  void apply(unsigned segment);

  VisibleMemory& memory_;
  std::array<Segment, HostBridge::kSegments> segments_;
  std::vector<uint8_t> ram_;  // as it is where reads meet the ROM
};

}  // namespace nestor::emu
