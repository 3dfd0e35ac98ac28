// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fields of a VMCS in the groups of the SDM's chapter "Virtual-Machine Control Structures",
// and what their values say in words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmx/vmcs.h"

namespace nestor::emu {

enum class VmcsGroup : uint8_t {
  kGuestState,
  kHostState,
  kExecutionControls,
  kExitControls,
  kEntryControls,
  kExitInformation,
};
inline constexpr int kVmcsGroupCount = 6;

VmcsGroup group_of(vmx::Field field);
std::string_view group_name(VmcsGroup group);  // "Guest state"

// "0x1f".
std::string hex(uint64_t value);

// Names of bits, decoded numbers: "PE, ET, NE, PG". Empty where the number says all.
std::string decode(const vmx::Vmcs& vmcs, vmx::Field field);

}  // namespace nestor::emu
