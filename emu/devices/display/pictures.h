// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a VGA makes of its memory. Not shown: panning by dots (horizontal pixel panning, preset row
// scan), the split screen (line compare), blinking.
#pragma once

#include <cstdint>
#include <span>

#include "emu/devices/display/dispi.h"
#include "emu/devices/display/screen.h"
#include "emu/devices/display/vga_registers.h"

namespace nestor::emu {

// A mode of the VGA's own, by its registers.
struct VgaMode {
  bool is_text;
  // Dots of the picture, 9 or 8 a character in text modes.
  unsigned width, height;
  // Text modes.
  unsigned columns, rows, cell_width, cell_height;
};
VgaMode vga_mode(const VgaRegisters& registers);

// The code of the character in a cell of a text mode, counted from the top left one.
uint8_t character_in(const VgaRegisters& registers, const VgaMode& mode,
                     std::span<const uint8_t> memory, unsigned cell);

// `memory`: of the adapter, with the four planes at least. `wide_palette`: its colours have 8 bits.
std::variant<Picture, NoPicture> vga_picture(const VgaRegisters& registers,
                                             std::span<const uint8_t> memory, bool wide_palette);
Picture linear_picture(const Dispi::Mode& mode, const VgaRegisters& registers,
                       std::span<const uint8_t> memory, bool wide_palette);

}  // namespace nestor::emu
