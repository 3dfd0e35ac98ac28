// SPDX-License-Identifier: GPL-2.0-or-later
//
// Alignment checking: SDM volume 3A, "Interrupt 17--Alignment Check Exception (#AC)".
#pragma once

#include <cstdint>
#include <optional>

#include "emu/decode/instruction.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

// Alignment checking is on: CR0.AM and RFLAGS.AC are 1, and the CPL is 3.
constexpr bool checks_alignment(const vmx::CpuState& state) {
  return (state.cr0 & vmx::cr0::kAm) != 0 && (state.rflags & vmx::rflags::kAc) != 0 &&
         state.cpl() == 3;
}

// The linear address of an explicit memory operand, of the instruction at RIP, that is not aligned
// to its size (10-byte operands: to 8 bytes). Operands of 16 bytes and more have rules of their
// own, with #GP.
std::optional<uint64_t> misaligned_operand(const vmx::CpuState& state,
                                           const Instruction& instruction);

}  // namespace nestor::emu
