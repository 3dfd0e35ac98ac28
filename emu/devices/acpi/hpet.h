// SPDX-License-Identifier: GPL-2.0-or-later
//
// The high precision event timers: IA-PC HPET (High Precision Event Timers) Specification 1.0a. A
// counter of 64 bits and three timers that compare with it, each one-shot or periodic, edge- or
// level-triggered. They send no messages of their own ("FSB").
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class Hpet : public Device {
 public:
  static constexpr unsigned kTimers = 3;
  static constexpr uint64_t kCyclesPerTick = 20;
  static constexpr uint64_t kFemtosecondsPerTick =
      kCyclesPerTick * (1'000'000'000'000'000 / Clock::kFrequency);
  // The low half of the capabilities: revision 1, the number of the last timer, a counter of 64
  // bits, the legacy replacement route, a vendor.
  static constexpr uint32_t kIdentity = 0x8086a001 | (kTimers - 1) << 8;
  // The lines to which a timer may be routed: those of the I/O APIC that nothing else drives.
  static constexpr unsigned kFirstLine = 20, kLines = 4;
  static constexpr Region kRegions[] = {{Space::kMemory, 0x400}};

  // With the legacy replacement route, timer 0 drives line 0 and timer 1 line 8, and the
  // replaceable sources of `lines`, which outlives the device, drive none.
  Hpet(const Clock& clock, EventQueue& timers, InterruptLines& lines);

  std::span<const Region> regions() const override { return kRegions; }
  // Accesses of 4 or 8 bytes to what is aligned; others reach no register.
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

 private:
  struct Timer {
    uint64_t config = 0, comparator = ~0ull;
    uint64_t period = 0;  // the last value that was written to the comparator
    void fields(Archive& archive);
  };
  struct State {
    uint64_t config = 0, status = 0;
    uint64_t counter = 0;  // at `since`; all matches up to there are done
    uint64_t since = 0;    // in cycles
    std::array<Timer, kTimers> timers;
    void fields(Archive& archive);
  };

  bool counts() const { return state_.config & 1; }
  // Ticks from the counter's present value to the next match; 0 stands for 2^64.
  static uint64_t ticks_to_match(const Timer& timer, uint64_t counter);
  uint64_t elapsed_ticks() const;
  // Brings the counter up to now, with the matches on the way.
  void catch_up();
  void match(unsigned number, uint64_t ticks);
  void set_deadline();

  uint64_t read_register(uint64_t offset) const;
  void write_register(uint64_t offset, uint64_t written, uint64_t value);
  void write_config(uint64_t value);
  void write_timer(unsigned number, uint64_t offset, uint64_t written, uint64_t value);

  // The index in sources_ of what a timer drives; std::nullopt: nothing.
  std::optional<unsigned> destination(const Timer& timer, unsigned number) const;
  void signal_edge(unsigned source);
  void drive_levels();

  const Clock& clock_;
  InterruptLines& lines_;
  std::vector<InterruptSource> sources_;  // lines 0 and 8, then those from kFirstLine on
  EventQueue::Timer due_;                 // the next match that interrupts
  State state_;
};

}  // namespace nestor::emu
