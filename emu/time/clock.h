// SPDX-License-Identifier: GPL-2.0-or-later
//
// Virtual time: cycles since reset. Everything that keeps time in the machine reads this clock and
// no other.
#pragma once

#include <cstdint>

namespace nestor::emu {

// Prices in cycles. One replaceable table; the virtual clock is the sum of what was charged.
struct CostModel {
  uint64_t instruction = 1;
  uint64_t walk_reference = 1;  // one memory reference of a page walk
  uint64_t vm_entry = 500;
  uint64_t vm_exit = 500;
  // What L0 does for one VM exit beside the VM exit and the VM entry themselves.
  uint64_t l0_exit_handling = 500;
  uint64_t exception = 100;
  uint64_t interrupt = 100;
  // PAUSE where there are several processors, beside its price as an instruction: who spins lets
  // time pass, as on processors of this signature, instead of making the host spin too.
  uint64_t pause_among_several = 139;
};

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
  }

 private:
  uint64_t cycles_ = 0;
};

}  // namespace nestor::emu
