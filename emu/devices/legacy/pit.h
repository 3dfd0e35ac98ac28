// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 8254 interval timer with the part of port B (0x61 in a PC) that controls its channel 2.
// Counters stand still until they get a count; channel 0 is in mode 2, as firmware leaves it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/time/clock.h"
#include "emu/time/event_queue.h"

namespace nestor::emu {

// One counter of the 8254. Times are ticks of the counter's input clock.
class PitChannel {
 public:
  // Control word, bits 5:0. Access mode 0 is the latch command.
  void write_control(uint8_t control, uint64_t now);
  void write_count(uint8_t value, uint64_t now);
  uint8_t read_count(uint64_t now);
  void latch_count(uint64_t now);
  void latch_status(uint64_t now);
  void set_gate(bool level, uint64_t now);

  bool gate() const { return state_.gate; }
  bool output(uint64_t now) const;
  // The tick, after `now`, at which the output rises next; nullopt: it does not.
  std::optional<uint64_t> next_rise(uint64_t now) const;

  void fields(Archive& archive) { archive(state_); }

 private:
  struct State {
    uint8_t access = 3, mode = 0;
    bool bcd = false, gate = true;
    bool loaded = false, running = false;
    bool high_next_write = false, high_next_read = false;
    uint8_t low_byte = 0;
    uint64_t reload = 0x10000;
    uint64_t elapsed = 0;  // counted before `since`
    uint64_t since = 0;    // when counting went on
    std::optional<uint16_t> latched_count;
    std::optional<uint8_t> latched_status;
    void fields(Archive& archive) {
      archive(access, mode, bcd, gate, loaded, running, high_next_write, high_next_read, low_byte,
              reload, elapsed, since, latched_count, latched_status);
      archive.require(reload != 0);
    }
  };

  bool periodic() const { return state_.mode == 2 || state_.mode == 3; }
  bool triggered_by_gate() const { return state_.mode == 1 || state_.mode == 5; }
  uint64_t count(uint64_t now) const;
  // Ticks counted since the count was loaded.
  uint64_t elapsed(uint64_t now) const {
    return state_.elapsed + (state_.running ? now - state_.since : 0);
  }
  void start(uint64_t now);
  void stop(uint64_t now);
  uint16_t from_register(uint16_t value) const;
  uint16_t to_register(uint64_t value) const;

  State state_;
};

class Pit : public Device {
 public:
  static constexpr uint64_t kFrequency = 1'193'182;  // Hz
  static constexpr Region kRegions[] = {
      {Space::kPorts, 4},  // counters 0 to 2, control word
      {Space::kPorts, 1},  // port B
  };

  // `interrupt`: driven by the output of channel 0.
  Pit(const Clock& clock, EventQueue& timers, InterruptSource interrupt);

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
    std::array<PitChannel, 3> channels;
    uint8_t port_b = 0;
    void fields(Archive& archive) { archive(channels, port_b); }
  };

  static uint64_t to_ticks(uint64_t cycles);
  // The first cycle that belongs to `tick`.
  static uint64_t to_cycles(uint64_t tick);
  uint64_t now() const { return to_ticks(clock_.cycles()); }
  void rise();
  void update();

  const Clock& clock_;
  InterruptSource interrupt_;
  State state_;
  EventQueue::Timer timer_;  // the next rise of channel 0
};

}  // namespace nestor::emu
