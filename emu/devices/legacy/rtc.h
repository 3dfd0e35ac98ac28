// SPDX-License-Identifier: GPL-2.0-or-later
//
// The real-time clock and its CMOS memory. Its time starts at a fixed moment and runs with the
// virtual clock.
#pragma once

#include <array>
#include <cstdint>

#include "emu/devices/bus.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class Rtc : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 2}};  // index, data
  // Seconds from 1970 to 1 January 2000, 00:00:00: the time at reset.
  static constexpr int64_t kResetTime = 946'684'800;

  // `memory_size` in bytes fills the CMOS bytes by which firmware tells the size of RAM.
  Rtc(const Clock& clock, uint64_t memory_size);

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override { archive(state_); }

 private:
  struct State {
    std::array<uint8_t, 128> memory{};
    uint8_t index = 0;  // into memory
    void fields(Archive& archive) {
      archive(memory, index);
      archive.require(index < memory.size());
    }
  };

  uint8_t read_time(uint8_t index) const;
  uint8_t encode(unsigned value) const;

  const Clock& clock_;
  State state_;
};

}  // namespace nestor::emu
