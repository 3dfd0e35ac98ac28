// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/real_time.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "emu/time/clock.h"

namespace nestor::emu {

void RealTime::wait(uint64_t now, uint64_t until, bool keyboard) {
  using std::chrono::milliseconds;
  if (!start_) start_ = {Time::now(), now};
  constexpr uint64_t kCyclesPerMillisecond = Clock::kFrequency / 1000;
  const milliseconds due{(until - start_->cycles) / kCyclesPerMillisecond};
  const auto left = due - std::chrono::duration_cast<milliseconds>(Time::now() - start_->host);
  // A guest that waits for longer than a minute is asked again then.
  constexpr milliseconds kLongest = std::chrono::minutes(1);
  if (left <= milliseconds::zero()) return;
  pollfd descriptor{STDIN_FILENO, POLLIN, 0};
  ::poll(&descriptor, keyboard ? 1 : 0, static_cast<int>(std::min(left, kLongest).count()));
}

}  // namespace nestor::emu
