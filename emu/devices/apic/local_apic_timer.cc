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
  const uint32_t code = (timer_divide_ & 3) | (timer_divide_ >> 1 & 4);
  return (code == 7 ? 1 : 2ull << code) * kCyclesPerCount;
}

uint64_t LocalApic::read_timer_current() {
  const uint64_t now = clock_.cycles();
  run_timer(now);
  if (!timer_running_) return 0;
  return timer_initial_ - (now - timer_start_) / timer_divisor();
}

void LocalApic::write_timer_initial(uint64_t value) {
  // "TSC-Deadline Mode": writes to the initial-count register are ignored.
  if (!counts_down()) return;
  run_timer(clock_.cycles());
  timer_initial_ = value;
  timer_running_ = value != 0;
  timer_start_ = clock_.cycles();
  arm_timer();
}

void LocalApic::write_timer_divide(uint64_t value) {
  const uint64_t now = clock_.cycles();
  run_timer(now);
  const uint64_t passed = (now - timer_start_) / timer_divisor();
  timer_divide_ = static_cast<uint32_t>(value);
  timer_start_ = now - passed * timer_divisor();  // the current count stays
  arm_timer();
}

uint64_t LocalApic::timer_due() const {
  if (timer_mode() == TimerMode::kTscDeadline) {
    if (tsc_deadline_ == 0) return EventQueue::kNever;
    const uint64_t now = clock_.cycles(), tsc = now + tsc_offset_;
    if (tsc >= tsc_deadline_) return now;
    const uint64_t left = tsc_deadline_ - tsc;
    return left > EventQueue::kNever - now ? EventQueue::kNever : now + left;
  }
  return timer_running_ ? timer_start_ + timer_period() : EventQueue::kNever;
}

void LocalApic::arm_timer() {
  constexpr uint32_t kMask = 1u << 16;
  // A masked timer has no effect; its count is computed when it is read.
  timer_.set(lvt_[kTimer] & kMask ? EventQueue::kNever : timer_due());
}

void LocalApic::run_timer(uint64_t now) {
  const uint64_t due = timer_due();
  if (due > now) return;
  if (timer_mode() == TimerMode::kTscDeadline) {
    tsc_deadline_ = 0;
  } else if (timer_mode() == TimerMode::kPeriodic) {
    timer_start_ += (now - timer_start_) / timer_period() * timer_period();
  } else {
    timer_running_ = false;
  }
  arm_timer();
  fire(kTimer);
}

void LocalApic::set_tsc_offset(uint64_t offset) {
  run_timer(clock_.cycles());
  tsc_offset_ = offset;
  arm_timer();
}

}  // namespace nestor::emu
