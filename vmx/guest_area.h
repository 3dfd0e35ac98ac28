// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guest-state area of a VMCS as the state of a processor, and the other way: whole, without
// what the controls select. VM entries and VM exits are more particular (entry.cc, exit.cc).
#pragma once

#include "vmx/cpu_state.h"
#include "vmx/vmcs.h"

namespace nestor::vmx {

// Segment registers with their hidden parts, GDTR and IDTR.
void load_segments(const Vmcs& vmcs, CpuState& state);
void store_segments(const CpuState& state, Vmcs& vmcs);

// All that the area holds. General registers but RSP, CR2, DR0 to DR3, DR6 and the MSRs that have
// no field stay as they are.
void load_guest_area(const Vmcs& vmcs, CpuState& state);
void store_guest_area(const CpuState& state, Vmcs& vmcs);

}  // namespace nestor::vmx
