// SPDX-License-Identifier: GPL-2.0-or-later
//
// The real-time clock and its CMOS memory, as the data sheet of the MC146818 has them: alarm,
// periodic and update-ended interrupts. Its time starts at a fixed moment and runs with the virtual
// clock. The century is in the memory, and follows the time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class Rtc : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 2}};  // index, data
  // Seconds from 1970 to 1 January 2000, 00:00:00: the time at reset.
  static constexpr int64_t kResetTime = 946'684'800;
  static constexpr uint64_t kFrequency = 32'768;  // Hz, of the divider
  // How long UIP is 1 before the end of an update: 244 us, and the update cycle of 1984 us.
  static constexpr uint64_t kUpdateTicks = 73;

  // `memory_size` in bytes fills the CMOS bytes by which firmware tells the size of RAM.
  Rtc(const Clock& clock, EventQueue& timers, uint64_t memory_size, InterruptSource interrupt);

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    interrupt_.serialize(archive);
  }

 private:
  struct State {
    std::array<uint8_t, 128> memory{};
    uint8_t index = 0;   // into memory
    uint64_t start = 0;  // when the divider was released, in cycles
    uint64_t phase = 0;  // ticks that it had then
    uint64_t ticks = 0;  // of the divider, up to which all is done
    void fields(Archive& archive);
  };

  uint64_t ticks_now() const;
  uint64_t to_cycles(uint64_t ticks) const;
  bool divider_runs() const;
  bool updates() const;
  // Ticks of one period; 0: there is none.
  uint64_t period() const;

  // Brings the time and the flags up to now.
  void catch_up();
  void advance(uint64_t seconds);
  // Seconds until the alarm goes off next, from the time in memory on; std::nullopt: it does not.
  std::optional<uint64_t> seconds_to_alarm() const;
  void update_interrupt();
  void set_deadline();

  void write_data(uint8_t value);
  uint8_t encode(unsigned value) const;
  uint8_t encode_hour(unsigned hour) const;
  std::optional<unsigned> decode(uint8_t value, unsigned min, unsigned max) const;
  std::optional<unsigned> decode_hour(uint8_t value) const;
  std::optional<std::chrono::sys_seconds> time() const;
  void set_time(std::chrono::sys_seconds time);

  const Clock& clock_;
  EventQueue::Timer due_;  // the next interrupt
  InterruptSource interrupt_;
  State state_;
};

}  // namespace nestor::emu
