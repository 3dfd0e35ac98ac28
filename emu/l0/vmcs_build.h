// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VMCSs that L0 runs its guests with: VMCS01 for L1, and VMCS02 for L2, which joins what L1
// asks for in VMCS12 with what L0 needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "emu/l0/machine_map.h"
#include "emu/l0/mode.h"
#include "vmx/capabilities.h"
#include "vmx/processor_type.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

// Machine addresses of L0's own pages that the VMCSs refer to.
struct L0Structures {
  uint64_t vmcs01 = 0, vmcs02 = 0;  // VMCS regions
  uint64_t shadow_vmcs = 0;         // VMCS12 as L1's VMREAD and VMWRITE reach it
  uint64_t vmread_bitmap = 0, vmwrite_bitmap = 0;
  uint64_t msr_bitmap01 = 0, msr_bitmap02 = 0;
};

inline constexpr uint16_t kVpid01 = 1, kVpid02 = 2;
// Of an EPTP: write-back, and a walk of 4 levels.
inline constexpr uint64_t kEptWriteBack4Levels = 3 << 3 | 6;

// What a hypervisor of this mode needs of the processor that runs it and the processor does not
// have; std::nullopt: nothing.
std::optional<std::string_view> l0_misses(const vmx::ProcessorType& processor, L0Mode mode);

// What L0 offers L1: what its own emulation covers of what the processor offers.
vmx::Capabilities l0_offered_capabilities(const vmx::Capabilities& processor, L0Mode mode);

// Every MSR that L1 may not reach by itself: a bit in VMCS01's bitmap, and VMCS02's.
bool l0_intercepts_msr(uint32_t index, L0Mode mode);

// VMCS01, but for the guest-state area.
void build_vmcs01(vmx::Vmcs& vmcs, const vmx::Capabilities& processor, const L0Config& config,
                  const L0Structures& structures, uint64_t eptp01);

// VMCS02, but for the guest-state area's registers and the EPT pointer. `map` finds L1's bitmaps.
void build_vmcs02(vmx::Vmcs& vmcs, const vmx::Vmcs& vmcs12, const vmx::Capabilities& processor,
                  const L0Config& config, const L0Structures& structures, const MachineMap& map);

}  // namespace nestor::emu
