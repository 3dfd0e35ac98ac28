// SPDX-License-Identifier: GPL-2.0-or-later
//
// QEMU's standard VGA: a VGA with linear modes. QEMU's documentation, "QEMU Standard VGA".
#pragma once

#include <cstdint>
#include <span>

#include "emu/devices/bus.h"
#include "emu/devices/display/dispi.h"
#include "emu/devices/display/screen.h"
#include "emu/devices/display/vga_planes.h"
#include "emu/devices/display/vga_registers.h"
#include "emu/devices/display/video_memory.h"

namespace nestor::emu {

class StandardVga final : public Device, public Screen {
 public:
  static constexpr uint64_t kMemoryBytes = 16 << 20, kRegisterBytes = 0x1000;
  static constexpr Region kRegions[] = {
      {Space::kMemory, VgaPlanes::kWindow},   // at A0000H in a PC
      {Space::kPorts, VgaRegisters::kPorts},  // from 3C0H on
      {Space::kPorts, 3},                     // DISPI, from 1CEH on: index, and one behind it data
  };

  // `memory` has kMemoryBytes and outlives this device; who owns it saves what is in it.
  explicit StandardVga(VideoMemory& memory)
      : memory_(memory), dispi_(kMemoryBytes), planes_(registers_, memory) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 2; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

  // The same registers in memory, below kRegisterBytes.
  uint64_t read_register(uint64_t offset, unsigned size);
  void write_register(uint64_t offset, unsigned size, uint64_t value);

  VideoMemory& memory() { return memory_; }

  std::variant<std::string, GraphicsMode> text() const override;
  std::variant<Picture, NoPicture> picture() const override;

 private:
  void write_dispi(unsigned index, uint16_t value);

  VideoMemory& memory_;
  VgaRegisters registers_;
  Dispi dispi_;
  VgaPlanes planes_;
};

}  // namespace nestor::emu
