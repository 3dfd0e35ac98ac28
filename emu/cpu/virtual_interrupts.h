// SPDX-License-Identifier: GPL-2.0-or-later
//
// Virtual-8086 mode extensions (CR4.VME) and protected-mode virtual interrupts (CR4.PVI): SDM,
// "Interrupt and Exception Handling in Virtual-8086 Mode", "Protected-Mode Virtual Interrupts".
#pragma once

#include <cstdint>

#include "emu/cpu/memory_fault.h"
#include "emu/cpu/result.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

class Core;

// What the instructions that read or change the interrupt flag work on.
enum class InterruptFlag : uint8_t {
  kIf,
  kVif,
  kNone,  // they cause #GP
};

// For CLI and STI.
constexpr InterruptFlag interrupt_flag(const vmx::CpuState& state) {
  const uint64_t iopl = (state.rflags & vmx::rflags::kIopl) >> 12;
  if (!state.protected_mode() || state.cpl() <= iopl) return InterruptFlag::kIf;
  const uint64_t extension = state.virtual_8086() ? vmx::cr4::kVme : vmx::cr4::kPvi;
  const bool extended = state.cpl() == 3 && (state.cr4 & extension) != 0;
  return extended ? InterruptFlag::kVif : InterruptFlag::kNone;
}
// For PUSHF, POPF and IRET, which heed CR4.VME in 16-bit form alone.
constexpr InterruptFlag interrupt_flag_in_image(const vmx::CpuState& state, unsigned width) {
  if (!state.virtual_8086()) return InterruptFlag::kIf;
  const InterruptFlag flag = interrupt_flag(state);
  return flag == InterruptFlag::kVif && width != 2 ? InterruptFlag::kNone : flag;
}

// RFLAGS as a program in virtual-8086 mode is shown it where VIF is its interrupt flag.
constexpr uint64_t flags_of_virtual_program(uint64_t flags) {
  const bool enabled = (flags & vmx::rflags::kVif) != 0;
  return (flags & ~uint64_t{vmx::rflags::kIf}) | vmx::rflags::kIopl |
         (enabled ? vmx::rflags::kIf : 0);
}

// VIF and VIP are both set where the program may be interrupted: #GP comes before the next
// instruction.
constexpr bool virtual_interrupt_is_due(const vmx::CpuState& state) {
  constexpr uint64_t kBoth = vmx::rflags::kVif | vmx::rflags::kVip;
  return (state.rflags & kBoth) == kBoth && interrupt_flag(state) == InterruptFlag::kVif;
}

// Whether INT `vector` in virtual-8086 mode goes to the task's own handler, by the
// software-interrupt redirection bitmap in the TSS.
Result<bool> redirects_interrupt(Core& core, uint8_t vector);

}  // namespace nestor::emu
