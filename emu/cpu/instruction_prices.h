// SPDX-License-Identifier: GPL-2.0-or-later
//
// What emulated instructions cost beside their price as instructions.
#pragma once

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/decode/instruction.h"
#include "emu/time/prices.h"
#include "emu/timing/core.h"

namespace nestor::emu {

// Which price of the list the operation has; nullptr: none.
uint64_t PriceList::*price_of(Operation operation);

// Whose execution is about to be charged.
class InstructionCharge {
 public:
  // Before the execution. `core`: the model of the processor's core; null: there is none.
  InstructionCharge(const Instruction& instruction, const vmx::CpuState& state,
                    const timing::Core* core);
  // After it. One that faulted or caused a VM exit costs what that costs; of a string instruction
  // the iterations that were completed count.
  void charge(Prices& prices, const vmx::CpuState& state, const Outcome& outcome) const;

 private:
  uint64_t PriceList::*price_;
  uint64_t core_cycles_ = 0;
  bool repeated_;
  uint64_t count_mask_;    // the bits of the address size
  uint64_t count_before_;  // iterations that are left
};

}  // namespace nestor::emu
