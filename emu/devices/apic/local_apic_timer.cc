// SPDX-License-Identifier: GPL-2.0-or-later
//
// "APIC Timer": one-shot, periodic and TSC-deadline mode, computed from the virtual clock.
#include "emu/devices/apic/local_apic.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kCyclesPerCount = Clock::kFrequency / LocalApic::kTimerFrequency;
static_assert(kCyclesPerCount * LocalApic::kTimerFrequency == Clock::kFrequency);

}  // namespace

uint64_t LocalApic::timer_divisor() const {
  const uint32_t code = (state_.timer_divide & 3) | (state_.timer_divide >> 1 & 4);
  return (code == 7 ? 1 : 2ull << code) * kCyclesPerCount;
}

uint64_t LocalApic::read_timer_current() {
  const uint64_t now = clock_.cycles();
  run_timer(now);
  if (!state_.timer_running) return 0;
  return state_.timer_initial - (now - state_.timer_start) / timer_divisor();
}

void LocalApic::write_timer_initial(uint64_t value) {
  // "TSC-Deadline Mode": writes to the initial-count register are ignored.
  if (!counts_down()) return;
  run_timer(clock_.cycles());
  state_.timer_initial = value;
  state_.timer_running = value != 0;
  state_.timer_start = clock_.cycles();
  arm_timer();
}

void LocalApic::write_timer_divide(uint64_t value) {
  const uint64_t now = clock_.cycles();
  run_timer(now);
  const uint64_t passed = (now - state_.timer_start) / timer_divisor();
  state_.timer_divide = static_cast<uint32_t>(value);
  state_.timer_start = now - passed * timer_divisor();  // the current count stays
  arm_timer();
}

uint64_t LocalApic::timer_due() const {
  if (timer_mode() == TimerMode::kTscDeadline) {
    if (state_.tsc_deadline == 0) return EventQueue::kNever;
    const uint64_t now = clock_.cycles(), tsc = now + state_.tsc_offset;
    if (tsc >= state_.tsc_deadline) return now;
    const uint64_t left = state_.tsc_deadline - tsc;
    return left > EventQueue::kNever - now ? EventQueue::kNever : now + left;
  }
  return state_.timer_running ? state_.timer_start + timer_period() : EventQueue::kNever;
}

void LocalApic::arm_timer() {
  constexpr uint32_t kMask = 1u << 16;
  // A masked timer has no effect; its count is computed when it is read.
  timer_.set(state_.lvt[kTimer] & kMask ? EventQueue::kNever : timer_due());
}

void LocalApic::run_timer(uint64_t now) {
  const uint64_t due = timer_due();
  if (due > now) return;
  if (timer_mode() == TimerMode::kTscDeadline) {
    state_.tsc_deadline = 0;
  } else if (timer_mode() == TimerMode::kPeriodic) {
    state_.timer_start += (now - state_.timer_start) / timer_period() * timer_period();
  } else {
    state_.timer_running = false;
  }
  arm_timer();
  fire(kTimer);
}

void LocalApic::set_tsc_offset(uint64_t offset) {
  run_timer(clock_.cycles());
  state_.tsc_offset = offset;
  arm_timer();
}

}  // namespace nestor::emu
