// SPDX-License-Identifier: GPL-2.0-or-later
//
// Instructions that exist only where CPUID offers them.
#pragma once

#include <cstdint>

#include "emu/cpu/core.h"
#include "emu/cpu/cpuid.h"

namespace nestor::emu::instructions {

struct Feature {
  uint32_t leaf;
  uint32_t CpuidRegisters::*reg;
  unsigned bit;
};

inline constexpr Feature kFeatureMonitor{1, &CpuidRegisters::ecx, 3};
inline constexpr Feature kFeatureRdrand{1, &CpuidRegisters::ecx, 30};
inline constexpr Feature kFeatureRdseed{7, &CpuidRegisters::ebx, 18};
inline constexpr Feature kFeatureRdpid{7, &CpuidRegisters::ecx, 22};
inline constexpr Feature kFeatureInvpcid{7, &CpuidRegisters::ebx, 10};
inline constexpr Feature kFeatureSmap{7, &CpuidRegisters::ebx, 20};
inline constexpr Feature kFeatureRdtscp{0x80000001, &CpuidRegisters::edx, 27};

inline bool offers(Core& core, const Feature& feature) {
  return cpuid(core, feature.leaf, 0).*feature.reg >> feature.bit & 1;
}

}  // namespace nestor::emu::instructions
