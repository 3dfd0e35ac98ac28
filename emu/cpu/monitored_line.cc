// SPDX-License-Identifier: GPL-2.0-or-later
//
// MONITOR and MWAIT. The engine does not tell of stores, so the line counts as written to when its
// content has changed, and also when another processor has executed at all: the manual allows false
// wake-ups, and none is missed.
#include "emu/cpu/cpu.h"

namespace nestor::emu {

void Cpu::watch_line(uint64_t linear) {
  const auto physical =
      mmu_.probe(linear, access(ept::Access::kRead, Privilege::kCurrent), state_.rflags);
  state_.monitor_armed = false;
  if (std::holds_alternative<Fault>(physical)) return;
  watched_line_.physical = std::get<uint64_t>(physical) & ~uint64_t{kLineSize - 1};
  watched_line_.runs_of_others = runs_of_others();
  // Device memory is not watched.
  state_.monitor_armed = memory_.read(watched_line_.physical, watched_line_.content);
}

bool Cpu::watched_line_written() {
  std::array<uint8_t, kLineSize> now{};
  return !memory_.read(watched_line_.physical, now) || now != watched_line_.content ||
         runs_of_others() != watched_line_.runs_of_others;
}

void Cpu::wait_for_line(bool masked_interrupts_wake) {
  in_mwait_ = true;
  masked_interrupts_wake_ = masked_interrupts_wake;
}

bool Cpu::waits_in_mwait() {
  if (!in_mwait_) return false;
  const bool interrupt =
      masked_interrupts_wake_ && (apic_.has_interrupt() || vmx_.virtual_interrupt_recognized());
  in_mwait_ = !interrupt && !watched_line_written();
  return in_mwait_;
}

}  // namespace nestor::emu
