// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/alarm.h"

#include <algorithm>

namespace nestor::emu::native {
namespace {

timeval to_timeval(std::chrono::microseconds time) {
  constexpr long kMillion = 1'000'000;
  return {time.count() / kMillion, time.count() % kMillion};
}

}  // namespace

Alarm::Alarm() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // Without SA_RESTART: KVM_RUN returns.
  sigaction(SIGALRM, &action, &old_action_);
  getitimer(ITIMER_REAL, &old_timer_);
  set(kPeriod);
}

Alarm::~Alarm() {
  setitimer(ITIMER_REAL, &old_timer_, nullptr);
  sigaction(SIGALRM, &old_action_, nullptr);
}

void Alarm::set(Duration until) {
  // Zero would stop the timer.
  const auto first = std::clamp(std::chrono::ceil<std::chrono::microseconds>(until),
                                std::chrono::microseconds(1), std::chrono::microseconds(kPeriod));
  const itimerval timer{to_timeval(kPeriod), to_timeval(first)};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace nestor::emu::native
