// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VGA in text mode, as far as drivers of text screens see it: memory, and registers that keep
// what is written to them. It starts as a BIOS leaves it: 80 columns, 25 rows, blank.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "emu/devices/bus.h"
#include "emu/devices/display/screen.h"
#include "emu/devices/display/text_rows.h"
#include "emu/devices/display/vga_registers.h"

namespace nestor::emu {

class VgaText final : public Device, public Screen {
 public:
  static constexpr uint64_t kMemorySize = 0x8000;  // a character and its attribute each
  static constexpr unsigned kColumns = 80, kRows = 25;
  static constexpr Region kRegions[] = {
      {Space::kMemory, kMemorySize},          // at B8000H in a PC
      {Space::kPorts, VgaRegisters::kPorts},  // from 3C0H on
  };

  VgaText() {
    for (size_t i = 0; i < kMemorySize; i += 2) {
      memory_[i] = ' ';
      memory_[i + 1] = kGreyOnBlack;
    }
  }

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned /*size*/) override {
    return registers_.read(at.offset);
  }
  void write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) override {
    registers_.write(at.offset, static_cast<uint8_t>(value));
  }
  uint64_t read_memory(DeviceAddress at, unsigned size) override {
    uint64_t value = 0;
    for (unsigned i = size; i-- > 0;) value = value << 8 | memory_[at.offset + i];
    return value;
  }
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override {
    for (unsigned i = 0; i < size; ++i)
      memory_[at.offset + i] = static_cast<uint8_t>(value >> (8 * i));
  }
  void serialize(Archive& archive) override {
    archive(memory_);
    registers_.serialize(archive);
  }

  std::variant<std::string, GraphicsMode> text() const override {
    const VgaRegisters::Registers& crtc = registers_.group(VgaRegisters::kCrtc);
    const size_t start = crtc[kStartHigh] * 256u + crtc[kStartLow];
    return text_rows(kColumns, kRows,
                     [&](unsigned cell) { return memory_[2 * (start + cell) % kMemorySize]; });
  }
  std::variant<Picture, NoPicture> picture() const override {
    return NoPicture{"there is a text screen alone"};
  }

 private:
  static constexpr uint8_t kGreyOnBlack = 0x07;

  std::array<uint8_t, kMemorySize> memory_{};
  VgaRegisters registers_;
};

}  // namespace nestor::emu
