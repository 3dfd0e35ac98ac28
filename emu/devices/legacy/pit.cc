// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pit.h"

#include <utility>

namespace nestor::emu {
namespace {

constexpr unsigned kControl = 3;  // offset in region 0
constexpr unsigned kPortB = 1;    // region
// Port B.
constexpr uint8_t kGate2 = 0x01, kSpeaker = 0x02, kRefresh = 0x10, kOutput2 = 0x20;
constexpr uint64_t kRefreshTicks = 18;  // the refresh request toggles every 15 us

}  // namespace

// Both split the 64-bit product so that it cannot overflow before 2^64 ticks.
uint64_t Pit::to_ticks(uint64_t cycles) {
  constexpr uint64_t kClock = Clock::kFrequency;
  return cycles / kClock * kFrequency + cycles % kClock * kFrequency / kClock;
}

uint64_t Pit::to_cycles(uint64_t tick) {
  constexpr uint64_t kClock = Clock::kFrequency;
  const uint64_t rest = tick % kFrequency * kClock;
  return tick / kFrequency * kClock + (rest + kFrequency - 1) / kFrequency;
}

Pit::Pit(const Clock& clock, EventQueue& timers, InterruptSource interrupt)
    : clock_(clock),
      interrupt_(std::move(interrupt)),
      timer_(timers, "8254 channel 0", [this](uint64_t) { rise(); }) {
  constexpr uint8_t kMode2 = 0x34;  // and both bytes of the count
  state_.channels[0].write_control(kMode2, 0);
  state_.channels[2].set_gate(false, 0);
}

uint32_t Pit::read_port(DeviceAddress at, unsigned /*size*/) {
  const uint64_t tick = now();
  if (at.region == kPortB) {
    return static_cast<uint32_t>(state_.port_b | (tick / kRefreshTicks & 1 ? kRefresh : 0) |
                                 (state_.channels[2].output(tick) ? kOutput2 : 0));
  }
  if (at.offset == kControl) return 0xff;  // the control word cannot be read
  return state_.channels[at.offset].read_count(tick);
}

void Pit::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  if (timer_.deadline() <= clock_.cycles()) rise();  // what was due before the write stays due
  const uint64_t tick = now();
  const auto byte = static_cast<uint8_t>(value);
  if (at.region == kPortB) {
    state_.port_b = byte & (kGate2 | kSpeaker);
    state_.channels[2].set_gate(byte & kGate2, tick);
    return;
  }
  const bool before = state_.channels[0].output(tick);
  const unsigned selected = byte >> 6;
  if (at.offset != kControl) {
    state_.channels[at.offset].write_count(byte, tick);
  } else if (selected != 3) {
    state_.channels[selected].write_control(byte & 0x3f, tick);
  } else {
    // The read-back command latches the count unless bit 5, the status unless bit 4.
    for (unsigned i = 0; i < state_.channels.size(); ++i) {
      if (!(byte >> (i + 1) & 1)) continue;
      if (!(byte & 0x20)) state_.channels[i].latch_count(tick);
      if (!(byte & 0x10)) state_.channels[i].latch_status(tick);
    }
  }
  const bool after = state_.channels[0].output(tick);
  if (before != after) interrupt_.set(after);
  update();
}

void Pit::rise() {
  // When the output fell before is of no interest to an edge-triggered input.
  interrupt_.set(false);
  interrupt_.set(true);
  update();
}

void Pit::update() {
  const std::optional<uint64_t> rise = state_.channels[0].next_rise(now());
  timer_.set(rise ? to_cycles(*rise) : EventQueue::kNever);
}

}  // namespace nestor::emu
