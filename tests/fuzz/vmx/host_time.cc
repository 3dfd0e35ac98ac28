// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's clock as the engine sees it, in place of the C library's. The engine sizes its TLB by
// it. It runs unevenly and goes on from one run to the next, so that two runs of the same cases
// differ if anything of it reaches the guest.
#include <sys/time.h>

#include <cstdint>

#include "tests/fuzz/vmx/random.h"

extern "C" int gettimeofday(timeval* time, void*) noexcept {
  constexpr uint64_t kSecond = 1'000'000;  // microseconds
  static nestor::fuzz::Random random(1);
  static uint64_t now = 1'000'000 * kSecond;
  // The engine looks at how it was used every 100 milliseconds.
  now += random.one_in(4) ? random.below(200'000) : random.below(2'000);
  time->tv_sec = static_cast<time_t>(now / kSecond);
  time->tv_usec = static_cast<suseconds_t>(now % kSecond);
  return 0;
}
