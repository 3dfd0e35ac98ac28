// SPDX-License-Identifier: GPL-2.0-or-later
//
// The capabilities of a processor as numbers with names: the VMX capability MSRs, and the widths
// and writable bits of registers that CPUID and WRMSR tell, but no VMX capability MSR.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmx/capabilities.h"

namespace nestor::emu {

// A number of RegisterRules that a document may state.
struct RegisterRule {
  std::string_view name;  // "physical_address_width"
  uint64_t largest = 0, smallest = 0;
  uint64_t (*get)(const vmx::RegisterRules&) = nullptr;
  void (*set)(vmx::RegisterRules&, uint64_t) = nullptr;
};
std::span<const RegisterRule> register_rule_names();
const RegisterRule* find_register_rule(std::string_view name);  // nullptr: there is none

struct CapabilityValues {
  std::map<uint32_t, uint64_t> msrs;           // by index
  std::map<std::string_view, uint64_t> rules;  // by RegisterRule::name
};

// What says `capabilities` completely.
CapabilityValues values_of(const vmx::Capabilities& capabilities);

// A processor that has whatever some processor has, so that nothing is called wrong for want of
// knowledge. Its linear addresses have 57 bits.
vmx::Capabilities any_processor();

struct StatedCapabilities {
  vmx::Capabilities capabilities;
  std::vector<std::string> assumed;  // MSRs that were not stated, and what is taken for them
};
// What is not stated is as on `otherwise`.
StatedCapabilities capabilities_from(const CapabilityValues& values,
                                     const vmx::Capabilities& otherwise);

}  // namespace nestor::emu
