// SPDX-License-Identifier: GPL-2.0-or-later
//
// Virtual time: cycles since reset. Everything that keeps time in the machine reads this clock and
// no other.
#pragma once

#include <cstdint>

namespace nestor::emu {

class Clock {
 public:
  // Cycles per virtual second; also the TSC frequency that CPUID and IA32_TSC agree on.
  static constexpr uint64_t kFrequency = 2'000'000'000;

  uint64_t cycles() const { return cycles_; }
  void charge(uint64_t cycles) { cycles_ += cycles; }
  // Takes back what a block was charged for instructions that it did not reach.
  void refund(uint64_t cycles) { cycles_ -= cycles; }
  // Idle time: nothing happens before `cycles`.
  void advance_to(uint64_t cycles) {
    if (cycles > cycles_) cycles_ = cycles;
  }

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(cycles_);
    // Deadlines are sums; no run comes that far.
    archive.require(cycles_ < 1ull << 62);
  }

 private:
  uint64_t cycles_ = 0;
};

}  // namespace nestor::emu
