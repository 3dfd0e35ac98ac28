// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VGA in text mode, as far as drivers of text screens see it: memory, and registers that keep
// what is written to them. It starts as a BIOS leaves it: 80 columns, 25 rows, blank.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "emu/devices/bus.h"

namespace nestor::emu {

class VgaText : public Device {
 public:
  static constexpr uint64_t kMemorySize = 0x8000;  // a character and its attribute each
  static constexpr unsigned kColumns = 80, kRows = 25;
  static constexpr Region kRegions[] = {
      {Space::kMemory, kMemorySize},  // at B8000H in a PC
      {Space::kPorts, 0x20},          // from 3C0H on
  };

  VgaText();

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override { archive(state_); }

  // What the screen shows, as UTF-8: a line for each row down to the last that is not blank,
  // without blanks at its end.
  std::string screen() const;

 private:
  // Registers behind an index register.
  enum Group : uint8_t { kAttribute, kSequencer, kGraphics, kCrtc, kGroups };
  using Registers = std::array<uint8_t, 256>;

  struct State {
    std::array<uint8_t, kMemorySize> memory{};
    std::array<Registers, kGroups> registers{};
    std::array<uint8_t, kGroups> index{};
    bool attribute_data = false;  // the next byte to 3C0H is data
    uint8_t miscellaneous = 0x67, feature = 0, pel_mask = 0xff;
    uint8_t retrace = 0;  // bits of input status 1, which change at each read
    std::array<uint8_t, 768> palette{};
    uint16_t palette_at = 0;  // into palette
    void fields(Archive& archive) {
      archive(memory, registers, index, attribute_data, miscellaneous, feature, pel_mask, retrace,
              palette, palette_at);
      archive.require(palette_at < palette.size());
    }
  };

  uint8_t& selected(Group group) { return state_.registers[group][state_.index[group]]; }
  uint8_t& next_palette_byte();

  State state_;
};

}  // namespace nestor::emu
