// SPDX-License-Identifier: GPL-2.0-or-later
//
// The registers of a VGA from 3C0H to 3DFH: they keep what is written to them. They begin as a BIOS
// leaves them in mode 3: 80 columns of 9 dots and 25 rows of 16 lines.
#pragma once

#include <array>
#include <cstdint>

#include "emu/memory/archive.h"

namespace nestor::emu {

class VgaRegisters {
 public:
  static constexpr uint16_t kPorts = 0x20;  // from 3C0H on
  // Registers that an index register selects.
  enum Group : uint8_t { kAttribute, kSequencer, kGraphics, kCrtc, kGroups };
  using Registers = std::array<uint8_t, 256>;

  VgaRegisters();

  // A port by its offset from 3C0H, below kPorts.
  uint8_t read(uint64_t port);
  void write(uint64_t port, uint8_t byte);

  const Registers& group(Group group) const { return state_.registers[group]; }
  // The attribute controller lets the palette reach the screen.
  bool palette_is_shown() const { return (state_.index[kAttribute] & 0x20) != 0; }
  uint8_t pel_mask() const { return state_.pel_mask; }
  // 256 colours of red, green and blue; 6 bits each, or 8.
  const std::array<uint8_t, 768>& palette() const { return state_.palette; }

  void serialize(Archive& archive) { archive(state_); }

 private:
  struct State {
    std::array<Registers, kGroups> registers{};
    std::array<uint8_t, kGroups> index{};
    bool attribute_data = false;  // the next byte to 3C0H is data
    uint8_t miscellaneous = 0x67, feature = 0, pel_mask = 0xff;
    uint8_t retrace = 0;  // bits of input status 1, which change at each read
    std::array<uint8_t, 768> palette{};
    uint16_t palette_at = 0;  // into palette
    void fields(Archive& archive) {
      archive(registers, index, attribute_data, miscellaneous, feature, pel_mask, retrace, palette,
              palette_at);
      archive.require(palette_at < palette.size());
    }
  };

  uint8_t& selected(Group group) { return state_.registers[group][state_.index[group]]; }
  uint8_t& next_palette_byte();

  State state_;
};

// Registers of the CRTC, by index.
enum Crtc : uint8_t {
  kHorizontalDisplayEnd = 0x01,
  kOverflow = 0x07,
  kMaximumScanLine = 0x09,
  kCursorStart = 0x0a,
  kCursorEnd = 0x0b,
  kStartHigh = 0x0c,  // first cell of the screen
  kStartLow = 0x0d,
  kCursorHigh = 0x0e,
  kCursorLow = 0x0f,
  kVerticalDisplayEnd = 0x12,
  kOffset = 0x13,
  kUnderline = 0x14,
  kCrtcMode = 0x17,
};

}  // namespace nestor::emu
