// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/waiting.h"

namespace nestor::emu {

bool Waiting::watch(uint64_t physical) {
  line_ = physical & ~uint64_t{kLineSize - 1};
  runs_of_others_ = runs_of_others();
  return memory_.read(line_, content_);
}

bool Waiting::line_written() const {
  std::array<uint8_t, kLineSize> now{};
  return !memory_.read(line_, now) || now != content_ ||
         runs_of_others() - runs_of_others_ >= kRunsUntilFalseAlarm;
}

void Waiting::begin(bool masked_interrupts_wake) {
  in_mwait_ = true;
  masked_interrupts_wake_ = masked_interrupts_wake;
}

bool Waiting::goes_on(bool interrupt) {
  if (!in_mwait_) return false;
  in_mwait_ = !(masked_interrupts_wake_ && interrupt) && !line_written();
  return in_mwait_;
}

}  // namespace nestor::emu
