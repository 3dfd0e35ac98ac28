// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>

namespace nestor::emu {

// One line on the standard error that says how far a long run is; nothing unless that is a
// terminal.
class Progress {
 public:
  explicit Progress(uint64_t max_instructions);

  // Called often; redraws a few times a second, after the first two seconds.
  void update(uint64_t instructions);
  // Takes the line away, so that other output starts on a clean one.
  void clear();

 private:
  using Time = std::chrono::steady_clock;

  const uint64_t max_instructions_;
  const bool terminal_;
  const Time::time_point start_ = Time::now();
  Time::time_point next_;
  bool visible_ = false;
};

}  // namespace nestor::emu
