// SPDX-License-Identifier: GPL-2.0-or-later
//
// The window from A0000H to BFFFFH onto the four planes of a VGA. A byte at offset A of plane P is
// byte 4 * A + P of video memory.
#pragma once

#include <array>
#include <cstdint>

#include "emu/devices/display/vga_registers.h"
#include "emu/devices/display/video_memory.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class VgaPlanes {
 public:
  static constexpr uint64_t kWindow = 0x20000, kPlanes = 4, kPlaneBytes = 0x10000;

  // Both outlive this object; `memory` has at least the planes.
  VgaPlanes(const VgaRegisters& registers, VideoMemory& memory)
      : registers_(registers), memory_(memory) {}

  // `offset` counts from A0000H, below kWindow. `bank`: bytes of video memory before what a window
  // of 64 KiB shows, a multiple of that.
  uint8_t read(uint64_t offset, uint64_t bank);
  void write(uint64_t offset, uint64_t bank, uint8_t value);

  void serialize(Archive& archive) { archive(latches_); }

 private:
  using Latches = std::array<uint8_t, kPlanes>;  // a byte of each plane

  uint8_t graphics(unsigned index) const {
    return registers_.group(VgaRegisters::kGraphics)[index];
  }
  uint8_t sequencer(unsigned index) const {
    return registers_.group(VgaRegisters::kSequencer)[index];
  }
  Latches planes_at(uint64_t at) const;
  uint8_t combine(uint8_t value, uint8_t latch, uint8_t mask) const;
  Latches written(uint8_t value) const;

  const VgaRegisters& registers_;
  VideoMemory& memory_;
  Latches latches_{};
};

}  // namespace nestor::emu
