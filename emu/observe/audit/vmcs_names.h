// SPDX-License-Identifier: GPL-2.0-or-later
//
// The names by which debuggers and hypervisors call the fields of a VMCS and the VMX capability
// MSRs: the SDM's, whatever their case and punctuation, numbers, and those of hypervisors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmx/fields.h"

namespace nestor::emu {

// Letters and digits only, in lower case: "GUEST_CR0" and "Guest CR0" are "guestcr0".
std::string normalized_name(std::string_view name);

// By the SDM's name, with or without what it has in parentheses ("EPT pointer (EPTP)"), by that
// alone, by the identifier, by the encoding ("0x6800"), or as Linux, Xen, HAXM and ia32-doc call it
// ("VM_EXIT_REASON", "VMCS_GUEST_CR0"). "full" or "high" at the end selects that half of a 64-bit
// field.
std::optional<vmx::FieldAccess> find_vmcs_field(std::string_view name);
// The known name that differs least from one that is not known; empty: none is like it.
std::string_view nearest_field_name(std::string_view name);

// By the SDM's name ("IA32_VMX_BASIC") or the index ("0x480").
std::optional<uint32_t> find_capability_msr(std::string_view name);
// As the SDM prints it; empty: no VMX capability MSR.
std::string_view capability_msr_name(uint32_t index);

// "0x1f", or decimal without leading zeros; std::nullopt: neither, or beyond 64 bits.
std::optional<uint64_t> parse_number(std::string_view text);

}  // namespace nestor::emu
