// SPDX-License-Identifier: GPL-2.0-or-later
//
// Alignment checking: SDM volume 3A, "Interrupt 17--Alignment Check Exception (#AC)".
#pragma once

#include "vmx/cpu_state.h"

namespace nestor::emu {

// Alignment checking is on: CR0.AM and RFLAGS.AC are 1, and the CPL is 3.
constexpr bool checks_alignment(const vmx::CpuState& state) {
  return (state.cr0 & vmx::cr0::kAm) != 0 && (state.rflags & vmx::rflags::kAc) != 0 &&
         state.cpl() == 3;
}

}  // namespace nestor::emu
