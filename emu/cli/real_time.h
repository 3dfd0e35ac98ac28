// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace nestor::emu {

// Keeps the clock of a machine that waits from running ahead of the host's. One that has more to do
// than the host can execute falls behind, and catches up while it waits.
class RealTime {
 public:
  // Returns when it is time for the clock, which is at `now`, to be at `until`; sooner when there
  // is something to read on the standard input and `keyboard` is set, or at a signal. In cycles.
  void wait(uint64_t now, uint64_t until, bool keyboard);

 private:
  using Time = std::chrono::steady_clock;
  struct Start {
    Time::time_point host;
    uint64_t cycles;
  };
  std::optional<Start> start_;
};

}  // namespace nestor::emu
