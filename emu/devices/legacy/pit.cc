// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pit.h"

#include <utility>

namespace nestor::emu {
namespace {

constexpr unsigned kControl = 3;  // port offset
// Port 0x61.
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

Pit::Pit(const Clock& clock, std::function<void(bool)> interrupt)
    : clock_(clock), interrupt_(std::move(interrupt)) {
  channels_[2].set_gate(false, 0);
}

bool Pit::attach(Bus& bus) {
  if (!bus.claim_ports(kFirstPort, 4, *this) || !bus.claim_ports(kPortB, 1, *this)) return false;
  bus.add_timed(*this);
  return true;
}

uint32_t Pit::read_port(uint16_t port, unsigned /*size*/) {
  const uint64_t tick = now();
  if (port == kPortB) {
    return static_cast<uint32_t>(port_b_ | (tick / kRefreshTicks & 1 ? kRefresh : 0) |
                                 (channels_[2].output(tick) ? kOutput2 : 0));
  }
  const unsigned offset = port - kFirstPort;
  return offset == kControl
             ? 0xff
             : channels_[offset].read_count(tick);  // the control word cannot be read
}

void Pit::write_port(uint16_t port, unsigned /*size*/, uint32_t value) {
  expire(clock_.cycles());  // what was due before the write stays due
  const uint64_t tick = now();
  const auto byte = static_cast<uint8_t>(value);
  if (port == kPortB) {
    port_b_ = byte & (kGate2 | kSpeaker);
    channels_[2].set_gate(byte & kGate2, tick);
    return;
  }
  const bool before = channels_[0].output(tick);
  const unsigned offset = port - kFirstPort, selected = byte >> 6;
  if (offset != kControl) {
    channels_[offset].write_count(byte, tick);
  } else if (selected != 3) {
    channels_[selected].write_control(byte & 0x3f, tick);
  } else {
    // The read-back command latches the count unless bit 5, the status unless bit 4.
    for (unsigned i = 0; i < channels_.size(); ++i) {
      if (!(byte >> (i + 1) & 1)) continue;
      if (!(byte & 0x20)) channels_[i].latch_count(tick);
      if (!(byte & 0x10)) channels_[i].latch_status(tick);
    }
  }
  const bool after = channels_[0].output(tick);
  if (interrupt_ && before != after) interrupt_(after);
  update();
}

void Pit::expire(uint64_t cycles) {
  if (cycles < deadline_) return;
  // The output rose; when it fell before is of no interest to an edge-triggered input.
  if (interrupt_) {
    interrupt_(false);
    interrupt_(true);
  }
  update();
}

void Pit::update() {
  const std::optional<uint64_t> rise = channels_[0].next_rise(now());
  deadline_ = rise ? to_cycles(*rise) : kNever;
}

}  // namespace nestor::emu
