// SPDX-License-Identifier: GPL-2.0-or-later
//
// The registers of the VBE "DISPI" interface, by which the VGA BIOS, OVMF and Linux choose a linear
// mode: Bochs, "VBE Display HOWTO", and QEMU's documentation, "QEMU Standard VGA".
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emu/memory/archive.h"

namespace nestor::emu {

class Dispi {
 public:
  static constexpr unsigned kRegisters = 11;
  static constexpr uint64_t kBankBytes = 0x10000;

  // A mode with dots of 4 bits in four planes, of 8 bits by the palette, of 15 and 16 bits, and of
  // 24 and 32 bits. Bytes count from the start of video memory.
  struct Mode {
    unsigned width, height, bits;
    uint64_t start, line_bytes;
  };

  // `memory_bytes`: of video memory.
  explicit Dispi(uint64_t memory_bytes) : memory_bytes_(memory_bytes) {}

  uint16_t read(unsigned index) const;
  // true: the mode has begun, and what it shows is to be cleared.
  [[nodiscard]] bool write(unsigned index, uint16_t value);

  uint16_t index() const { return state_.index; }
  void select(uint16_t index) { state_.index = index; }

  // std::nullopt: the VGA's own.
  std::optional<Mode> mode() const;
  // Before what the window at A0000H shows.
  uint64_t bank() const { return is_enabled() ? kBankBytes * state_.values[kBank] : 0; }
  bool palette_has_8_bits() const { return (state_.values[kEnable] & k8BitDac) != 0; }

  void serialize(Archive& archive) { archive(state_); }

 private:
  enum Index : unsigned {
    kId,
    kWidth,
    kHeight,
    kBits,
    kEnable,
    kBank,
    kVirtualWidth,
    kVirtualHeight,
    kX,
    kY,
    kMemory,
  };
  static constexpr uint16_t kOldestId = 0xb0c0, kNewestId = 0xb0c5;
  static constexpr uint16_t kEnabled = 0x01, kGetCapabilities = 0x02, k8BitDac = 0x20,
                            kKeepMemory = 0x80;
  static constexpr uint16_t kMostWidth = 2560, kMostHeight = 1600, kMostBits = 32;

  struct State {
    std::array<uint16_t, kRegisters> values{kNewestId};
    uint16_t index = 0;
    void fields(Archive& archive) { archive(values, index); }
  };

  bool is_enabled() const { return (state_.values[kEnable] & kEnabled) != 0; }
  uint64_t line_bytes() const;
  void set_virtual_size(uint16_t width);
  bool enable(uint16_t value);

  const uint64_t memory_bytes_;
  State state_;
};

}  // namespace nestor::emu
