// SPDX-License-Identifier: GPL-2.0-or-later
//
// What CPUID says of the processor. Its feature flags are those of vmx/features.inc.
#pragma once

#include <cstdint>

#include "vmx/processor_type.h"

namespace nestor::emu {

class Core;

struct CpuidRegisters {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr bool operator==(const CpuidRegisters&) const = default;
};

// The state of the processor that CPUID shows.
struct CpuidState {
  uint64_t apic_base = 0;    // IA32_APIC_BASE
  uint64_t misc_enable = 0;  // IA32_MISC_ENABLE
  uint32_t apic_id = 0;
  bool code_64bit = false;  // in 64-bit mode
  unsigned processors = 1;  // logical processors of the machine, each a core of one package
  bool osxsave = false;     // CR4.OSXSAVE
  bool pke = false;         // CR4.PKE
  uint64_t xcr0 = 1;
  vmx::ProcessorType type{};
  bool counts_core_events = false;  // performance counters do
  bool counts_caches = false;  // the same: there is a model of the caches, as this processor has
};

// Leaves beyond the highest one answer as the highest basic leaf does, as an Intel processor's do.
CpuidRegisters cpuid(const CpuidState& state, uint32_t leaf, uint32_t subleaf);
CpuidRegisters cpuid(Core& core, uint32_t leaf, uint32_t subleaf);
// Does CPUID report it now?
bool offers(Core& core, vmx::Feature feature);

inline constexpr uint32_t kLineSize = 64;  // bytes: CLFLUSH, caches and the MONITOR range

}  // namespace nestor::emu
