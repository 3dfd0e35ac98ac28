// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/wrong_bits.h"

#include "vmx/field_bits.h"

namespace nestor::vmx {
namespace {

// The bits that the capability MSRs fix the other way.
WrongBits against_capabilities(const EntryCheck& check, const CheckContext& context) {
  const uint64_t value = context[check.field];
  const Capabilities& offered = context.capabilities;
  if (const auto group = control_group_of(check.field))
    return {~value & offered.allowed0(*group), value & ~offered.allowed1(*group)};
  const bool cr0 = check.id.ends_with("-cr0-fixed");
  const uint64_t wrong = cr0 ? offered.cr0_violations(value) : offered.cr4_violations(value);
  return {wrong & ~value, wrong & value};
}

CheckContext with(const CheckContext& context, const Vmcs& vmcs) {
  return {.vmcs = vmcs,
          .capabilities = context.capabilities,
          .memory = context.memory,
          .current_vmcs = context.current_vmcs,
          .long_mode = context.long_mode};
}

}  // namespace

WrongBits wrong_bits(const EntryCheck& check, const CheckContext& context) {
  const bool fixed = check.id.ends_with("-fixed");
  if (!fixed && !check.id.ends_with("-reserved")) return {};
  const bool capabilities = fixed || control_group_of(check.field).has_value();
  const uint64_t value = context[check.field];
  WrongBits bits =
      capabilities ? against_capabilities(check, context) : WrongBits{.zero = 0, .one = value};
  Vmcs vmcs = context.vmcs;
  const CheckContext changed = with(context, vmcs);
  const uint64_t right = (value | bits.zero) & ~bits.one;
  vmcs.write(check.field, right);
  if (!check.passes(changed)) return {};
  for (unsigned i = 0; i < bits_of(check.field); ++i) {
    const uint64_t bit = uint64_t{1} << i;
    if (((bits.zero | bits.one) & bit) == 0) continue;
    vmcs.write(check.field, right ^ bit);  // this bit alone as it is
    if (!check.passes(changed)) continue;
    bits.zero &= ~bit;
    bits.one &= ~bit;
  }
  return bits;
}

}  // namespace nestor::vmx
