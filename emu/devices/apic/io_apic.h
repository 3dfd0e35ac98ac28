// SPDX-License-Identifier: GPL-2.0-or-later
//
// The I/O APIC: 24 inputs, each with a redirection entry.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <utility>

#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"

namespace nestor::emu {

class IoApic : public Device {
 public:
  static constexpr unsigned kPins = 24;
  static constexpr Region kRegions[] = {{Space::kMemory, 0x1000}};

  // `send` carries a message to the local APICs.
  explicit IoApic(std::function<void(const Ipi&)> send);

  std::span<const Region> regions() const override { return kRegions; }
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override { archive(state_); }

  // `pin` is 0..23; others are ignored.
  void set_pin(unsigned pin, bool level);
  // It is not masked; false where there is none.
  bool passes(unsigned pin) const;
  // A local APIC broadcast the EOI of a level-triggered interrupt.
  void end_of_interrupt(uint8_t vector);

 private:
  struct State {
    std::array<uint64_t, kPins> entries{};
    std::array<bool, kPins> lines{};
    uint32_t select = 0, id = 0;
    void fields(Archive& archive) { archive(entries, lines, select, id); }
  };

  uint32_t read_indirect() const;
  void write_indirect(uint32_t value);
  void service_level(unsigned pin);
  void send(unsigned pin);

  std::function<void(const Ipi&)> send_;
  State state_;
};

}  // namespace nestor::emu
