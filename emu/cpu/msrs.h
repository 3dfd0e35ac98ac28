// SPDX-License-Identifier: GPL-2.0-or-later
//
// RDMSR and WRMSR of every MSR of the processor, without privilege checks and intercepts.
#pragma once

#include <cstdint>
#include <string_view>

#include "vmx/processor.h"

namespace nestor::emu {

class Core;

// #GP for an MSR that does not exist, and, on writes, for a value that it cannot hold.
// IA32_TIME_STAMP_COUNTER is read without the TSC offset of VMX non-root operation.
vmx::MsrStatus read_msr(Core& core, uint32_t index, uint64_t& value);
vmx::MsrStatus write_msr(Core& core, uint32_t index, uint64_t value);

// The name as the SDM prints it, of a run of MSRs what their names have in common; empty when the
// MSR does not exist.
std::string_view msr_name(uint32_t index);

// Gives the MSRs outside the local APIC their values after power-up, those in CpuState included.
void reset_msrs(Core& core);

}  // namespace nestor::emu
