// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fixed hardware of ACPI: the PM1 event and control registers and the PM timer. ACPI
// Specification 4.0, "ACPI Hardware Specification". ACPI mode is always on, there are no buttons,
// and S5 is the only sleeping state.
#pragma once

#include <cstdint>
#include <functional>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class PowerManagement : public Device {
 public:
  static constexpr uint64_t kFrequency = 3'579'545;  // Hz, of the timer
  static constexpr uint8_t kSoftOff = 0;             // SLP_TYP of S5, as the PIIX4 has it
  static constexpr Region kRegions[] = {
      {Space::kPorts, 4},  // PM1 status, PM1 enable
      {Space::kPorts, 2},  // PM1 control
      {Space::kPorts, 4},  // the timer: 24 bits that run from reset on
  };

  // `power_off`: the guest has entered S5.
  PowerManagement(const Clock& clock, EventQueue& timers, InterruptSource sci,
                  std::function<void()> power_off);

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    sci_.serialize(archive);
  }

 private:
  struct State {
    uint16_t enable = 0, control = 0;
    uint64_t carries = 0;  // changes of the timer's bit 23 until TMR_STS was cleared last
    void fields(Archive& archive) { archive(enable, control, carries); }
  };

  uint64_t ticks() const;
  uint64_t carries() const;
  bool carried() const { return carries() != state_.carries; }  // TMR_STS
  void write_control(uint16_t value);
  void update();

  const Clock& clock_;
  EventQueue::Timer carry_;
  InterruptSource sci_;
  const std::function<void()> power_off_;
  State state_;
};

}  // namespace nestor::emu
