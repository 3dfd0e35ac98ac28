// SPDX-License-Identifier: GPL-2.0-or-later
//
// Address breakpoints, as DR0 to DR3 and DR7 define them: SDM volume 3B, "Debug Control Register
// (DR7)", "Breakpoint Field Recognition".
#pragma once

#include <cstdint>

#include "emu/cpu/memory_accesses.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

// Whether any is enabled.
constexpr bool has_breakpoints(const vmx::CpuState& state) { return (state.dr7 & 0xff) != 0; }

// Below, bits 3:0 of a result are B3 to B0: the enabled breakpoints that are met.
uint64_t instruction_breakpoints(const vmx::CpuState& state, uint64_t linear);
uint64_t data_breakpoints(const vmx::CpuState& state, const MemoryAccesses& accesses);
// CR4.DE turns them on.
uint64_t port_breakpoints(const vmx::CpuState& state, uint16_t port, unsigned size);

// Whether there is an instruction breakpoint in a range of code.
bool has_instruction_breakpoint(const vmx::CpuState& state, uint64_t linear, uint64_t size);
// Whether some byte of this page has a data breakpoint.
bool has_data_breakpoint(const vmx::CpuState& state, uint64_t linear);

// A number that tells sets of breakpoints apart; 0: none is enabled.
uint64_t breakpoint_set(const vmx::CpuState& state);

}  // namespace nestor::emu
