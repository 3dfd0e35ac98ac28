// SPDX-License-Identifier: GPL-2.0-or-later
//
// The state of a processor after INIT, and where a start-up IPI sends it.
#pragma once

#include <cstdint>

#include "vmx/cpu_state.h"

namespace nestor::emu {

// SDM volume 3A, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT": what
// INIT leaves of `before`. x87 and SSE state, the TSC and the MSRs survive, IA32_EFER and
// IA32_DEBUGCTL excepted. The processor waits for a start-up IPI.
// `signature`: CPUID.1:EAX.
vmx::CpuState state_after_init(const vmx::CpuState& before, uint32_t signature);

// Real mode at the page that the vector names.
void start_at(vmx::CpuState& state, uint8_t vector);

}  // namespace nestor::emu
