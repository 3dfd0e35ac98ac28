// SPDX-License-Identifier: GPL-2.0-or-later
//
// The vocabulary in which the tables of VM-entry checks are written.
#pragma once

#include <iterator>
#include <utility>

#include "vmx/checks/entry_checks.h"
#include "vmx/cpu_state.h"
#include "vmx/injection.h"

namespace nestor::vmx::checks {

// The table's checks as straight code. Each row is a constant, and flattened the predicates shrink
// to a few instructions: a VM entry asks all of them.
template <const auto& kTable>
[[gnu::flatten]] bool table_passes(const CheckContext& context) {
  return [&]<size_t... kRow>(std::index_sequence<kRow...>) {
    return (kTable[kRow].passes(context) && ...);
  }
  (std::make_index_sequence<std::size(kTable)>());
}
template <const auto& kTable>
constexpr CheckTable table_of() {
  return {kTable, table_passes<kTable>};
}

// The tables, by the SDM's sections.
CheckTable execution_controls();
CheckTable exit_controls();
CheckTable entry_controls();
CheckTable host_registers();
CheckTable host_segments();
CheckTable address_space_size();
CheckTable guest_registers();
CheckTable guest_segments();
CheckTable guest_system_segments();
CheckTable guest_descriptor_tables();
CheckTable guest_rip_rflags();
CheckTable guest_non_register_state();
CheckTable guest_pdptes();

using Context = const CheckContext&;

// --- When a check applies.
constexpr bool always(Context, Field) { return true; }
// All of the controls are 1.
template <auto... kControls>
bool on(Context c, Field) {
  return (c.vmcs.has(kControls) && ...);
}

// --- What must hold.
constexpr bool never(Context, Field) { return false; }
// All of the controls are 0.
template <auto... kControls>
bool off(Context c, Field) {
  return (!c.vmcs.has(kControls) && ...);
}
// Bits kHigh:kLow are 0.
template <unsigned kHigh, unsigned kLow>
bool zero(Context c, Field field) {
  return (c[field] >> kLow & (~uint64_t{0} >> (63 - (kHigh - kLow)))) == 0;
}

// Every bit of a control field is one that the capabilities allow.
template <ControlGroup kGroup>
bool as_offered(Context c, Field field) {
  const uint64_t value = c[field], must = c.capabilities.allowed0(kGroup);
  return (value & must) == must && (value & ~c.capabilities.allowed1(kGroup)) == 0;
}

// The bits of a physical address that may be 1.
inline uint64_t physical_bits(Context c) {
  return c.capabilities.addresses_32bit ? 0xffffffff
                                        : (uint64_t{1} << c.rules().physical_address_width) - 1;
}
inline bool within_width(Context c, Field field) { return (c[field] & ~physical_bits(c)) == 0; }
inline bool canonical(Context c, Field field) { return c.rules().canonical(c[field]); }

// Only bits that the rules call writable are 1.
template <auto kWritable>
bool only_writable(Context c, Field field) {
  return (c[field] & ~(c.rules().*kWritable)) == 0;
}

// Each byte of an IA32_PAT value is 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-).
inline bool valid_pat(Context c, Field field) {
  for (uint64_t pat = c[field], byte = 0; byte < 8; ++byte, pat >>= 8)
    if (const uint64_t type = pat & 0xff; type > 7 || type == 2 || type == 3) return false;
  return true;
}

// IA32_S_CET: SUPPRESS and TRACKER are not both 1.
inline bool valid_s_cet_tracker(Context c, Field field) { return (c[field] & 0xc00) != 0xc00; }

// A list of MSRs: the count is in `count`, the address in the check's field.
template <Field kCount>
bool has_msrs(Context c, Field) {
  return c[kCount] != 0;
}
// The address of the last byte of the area does not exceed the physical-address width.
template <Field kCount>
bool msr_area_within_width(Context c, Field field) {
  const uint64_t last = c[kCount] * 16 - 1;  // the count is a 32-bit field
  const uint64_t bits = physical_bits(c);
  return c[field] <= bits && last <= bits - c[field];
}

// --- What the VMCS says of the guest.
inline bool unrestricted(Context c) { return c.vmcs.has(SecondaryProcBased::kUnrestrictedGuest); }
inline bool ia32e_guest(Context c) { return c.vmcs.has(VmEntryControl::kIa32eModeGuest); }
inline bool virtual_8086_guest(Context c) { return (c[Field::kGuestRflags] & rflags::kVm) != 0; }
inline bool protected_guest(Context c) { return (c[Field::kGuestCr0] & cr0::kPe) != 0; }

// The event to inject, "VM-Entry Interruption-Information Field".
struct Injection {
  uint32_t information = 0;
  constexpr bool valid() const { return interruption::is_valid(information); }
  constexpr uint8_t vector() const { return interruption::vector_of(information); }
  constexpr EventType type() const { return interruption::type_of(information); }
  constexpr bool error_code() const { return interruption::has_error_code(information); }
  constexpr bool is(EventType wanted) const { return valid() && type() == wanted; }
};
inline Injection injection(Context c) {
  return {static_cast<uint32_t>(c[Field::kVmEntryInterruptionInformation])};
}

}  // namespace nestor::vmx::checks
