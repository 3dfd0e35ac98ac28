// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/wrong_bits.h"

#include <spdlog/fmt/fmt.h>

#include "emu/observe/audit/vmcs_decoding.h"

namespace nestor::emu {
namespace {

// The bits that the capability MSRs fix the other way.
WrongBits against_capabilities(const vmx::EntryCheck& check, const vmx::CheckContext& context) {
  const uint64_t value = context[check.field];
  const vmx::Capabilities& offered = context.capabilities;
  if (const auto group = control_group_of(check.field))
    return {~value & offered.allowed0(*group), value & ~offered.allowed1(*group)};
  const bool cr0 = check.id.ends_with("-cr0-fixed");
  const uint64_t wrong = cr0 ? offered.cr0_violations(value) : offered.cr4_violations(value);
  return {wrong & ~value, wrong & value};
}

vmx::CheckContext with(const vmx::CheckContext& context, const vmx::Vmcs& vmcs) {
  return {.vmcs = vmcs,
          .capabilities = context.capabilities,
          .memory = context.memory,
          .current_vmcs = context.current_vmcs,
          .long_mode = context.long_mode};
}

}  // namespace

WrongBits wrong_bits(const vmx::EntryCheck& check, const vmx::CheckContext& context) {
  const bool fixed = check.id.ends_with("-fixed");
  if (!fixed && !check.id.ends_with("-reserved")) return {};
  const bool capabilities = fixed || control_group_of(check.field).has_value();
  const uint64_t value = context[check.field];
  WrongBits bits =
      capabilities ? against_capabilities(check, context) : WrongBits{.zero = 0, .one = value};
  vmx::Vmcs vmcs = context.vmcs;
  const vmx::CheckContext changed = with(context, vmcs);
  const uint64_t right = (value | bits.zero) & ~bits.one;
  vmcs.write(check.field, right);
  if (!check.passes(changed)) return {};
  for (unsigned i = 0; i < vmx::bits_of(check.field); ++i) {
    const uint64_t bit = uint64_t{1} << i;
    if (((bits.zero | bits.one) & bit) == 0) continue;
    vmcs.write(check.field, right ^ bit);  // this bit alone as it is
    if (!check.passes(changed)) continue;
    bits.zero &= ~bit;
    bits.one &= ~bit;
  }
  return bits;
}

std::string bit_list(vmx::Field field, uint64_t bits) {
  const std::string_view name = vmx::info_of(field).name;
  const bool control = control_group_of(field).has_value();
  std::string text;
  for (unsigned i = 0; i < 64; ++i) {
    if ((bits >> i & 1) == 0) continue;
    const std::string_view bit = bit_name(field, i);
    text += text.empty() ? "" : ", ";
    if (bit.empty()) {
      text += fmt::format("bit {}", i);
    } else if (control || bit.find(' ') != std::string_view::npos) {
      text += fmt::format("\"{}\" (bit {})", bit, i);
    } else {
      text += fmt::format("{}.{}", name.substr(name.rfind(' ') + 1), bit);
    }
  }
  return text;
}

std::string requirement_of(vmx::Field field, const WrongBits& bits) {
  std::string text;
  if (bits.zero != 0) text = bit_list(field, bits.zero) + " must be 1";
  if (bits.one != 0) text += (text.empty() ? "" : "; ") + bit_list(field, bits.one) + " must be 0";
  return text;
}

}  // namespace nestor::emu
