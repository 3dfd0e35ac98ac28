// SPDX-License-Identifier: GPL-2.0-or-later
//
// The standard VGA on the PCI bus: where its memory and its registers are, and the ROM with its
// BIOS.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "emu/devices/display/standard_vga.h"
#include "emu/devices/pci/function.h"

namespace nestor::emu {

class DisplayFunction final : public PciFunction {
 public:
  static constexpr size_t kMostRomBytes = 0x10000;

  // `rom`: the VGA BIOS, kMostRomBytes at most; empty: there is none. `vga` outlives the function.
  DisplayFunction(Bus& bus, const Identity& identity, StandardVga& vga, std::vector<uint8_t> rom)
      : PciFunction(bus, identity, regions_with(!rom.empty()), std::nullopt),
        vga_(vga),
        rom_(std::move(rom)) {
    set_configuration(kFramebufferRegister, 4, kPrefetchable);
    // By these firmware finds the adapter that is to answer at the ports of a VGA. They always do.
    set_writable(kCommand, 2, kIoAndMemory);
  }

  uint64_t read_memory(DeviceAddress at, unsigned size) override {
    if (at.region == kRegisters) return vga_.read_register(at.offset, size);
    const auto from = at.region == kFramebuffer ? vga_.memory().bytes() : std::span(rom_);
    uint64_t value = 0;
    for (unsigned i = size; i-- > 0;)
      value = value << 8 | (at.offset + i < from.size() ? from[at.offset + i] : 0);
    return value;
  }
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override {
    if (at.region == kRegisters) return vga_.write_register(at.offset, size, value);
    if (at.region != kFramebuffer) return;
    for (unsigned i = 0; i < size; ++i) {
      const auto byte = static_cast<uint8_t>(value >> (8 * i));
      vga_.memory().write(at.offset + i, {&byte, 1});
    }
  }

 private:
  // Base address registers.
  static constexpr unsigned kFramebuffer = 0, kRegisters = 2;
  static constexpr unsigned kCommand = 0x04, kFramebufferRegister = 0x10;
  static constexpr uint32_t kIoAndMemory = 0x3;
  static constexpr uint32_t kPrefetchable = 0x8;

  static std::vector<Region> regions_with(bool rom) {
    std::vector<Region> regions(kBars + 1, Region{Space::kMemory, 0});
    regions[kFramebuffer].size = StandardVga::kMemoryBytes;
    regions[kRegisters].size = StandardVga::kRegisterBytes;
    if (rom) regions[kRomBar].size = kMostRomBytes;
    return regions;
  }

  void bars_placed() override { vga_.memory().place(base(kFramebuffer)); }

  StandardVga& vga_;
  const std::vector<uint8_t> rom_;
};

}  // namespace nestor::emu
