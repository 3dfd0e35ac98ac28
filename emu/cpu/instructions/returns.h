// SPDX-License-Identifier: GPL-2.0-or-later
//
// What far RET and IRET have in common, and how instructions end that go on elsewhere.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/cpu/result.h"
#include "emu/cpu/segments.h"

namespace nestor::emu::instructions {

// `next` replaces the state. The instruction is over, and with it what blocks events for one
// instruction only; RF is the caller's.
Outcome jump_to(Core& core, vmx::CpuState& next);

// Where a return goes: the code segment that the popped selector names.
struct ReturnTarget {
  uint16_t selector = 0;
  Descriptor code;
  uint64_t rip = 0;
};
// With the checks that come before those of RIP and of the stack.
Result<Descriptor> find_return_segment(Core& core, uint16_t selector);

// Goes there, with the stack pointer and SS that lie `at` bytes above the stack pointer, `width`
// bytes each, and `released` more bytes popped from the outer stack. The privilege level becomes
// the RPL of the selector, which in 64-bit code may be the present one.
std::optional<Fault> return_outward(Core& core, vmx::CpuState& next, const ReturnTarget& target,
                                    uint64_t at, unsigned width, uint64_t released);

}  // namespace nestor::emu::instructions
