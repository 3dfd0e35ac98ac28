// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/time.h>

#include <chrono>
#include <csignal>

namespace nestor::emu::native {

/// While it lives, a signal interrupts KVM_RUN when the time set is over, and then again and again:
/// one that comes just before KVM_RUN is not lost for long. There is one at a time.
class Alarm {
 public:
  using Duration = std::chrono::nanoseconds;
  /// The longest time without a signal.
  static constexpr std::chrono::milliseconds kPeriod{10};

  Alarm();
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm();

  /// The next signal comes after this time, or after `kPeriod` if that is shorter.
  void set(Duration until);

 private:
  struct sigaction old_action_ {};
  itimerval old_timer_{};
};

}  // namespace nestor::emu::native
