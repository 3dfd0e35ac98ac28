// SPDX-License-Identifier: GPL-2.0-or-later
//
// The power-management timer: ACPI Specification 4.0, "Power Management Timer". A counter of 24
// bits that runs from reset on; writes are dropped, and it interrupts nobody.
#pragma once

#include <cstdint>

#include "emu/devices/bus.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class PmTimer : public Device {
 public:
  static constexpr uint64_t kFrequency = 3'579'545;  // Hz
  static constexpr unsigned kBytes = 4;
  static constexpr Region kRegions[] = {{Space::kPorts, kBytes}};

  explicit PmTimer(const Clock& clock) : clock_(clock) {}

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned /*size*/) override {
    // Split so that the product cannot overflow.
    constexpr uint64_t kClock = Clock::kFrequency;
    const uint64_t cycles = clock_.cycles();
    const uint64_t ticks = cycles / kClock * kFrequency + cycles % kClock * kFrequency / kClock;
    return static_cast<uint32_t>((ticks & 0xffffff) >> (8 * at.offset));
  }

 private:
  const Clock& clock_;
};

}  // namespace nestor::emu
