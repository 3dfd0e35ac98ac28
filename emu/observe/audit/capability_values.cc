// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/capability_values.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <optional>

#include "emu/observe/audit/vmcs_names.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using vmx::Capabilities;
using vmx::ControlRange;
using vmx::RegisterRules;

template <auto kMember>
constexpr RegisterRule rule(std::string_view name, uint64_t largest = ~uint64_t{0},
                            uint64_t smallest = 0) {
  return {name, largest, smallest,
          [](const RegisterRules& rules) { return static_cast<uint64_t>(rules.*kMember); },
          [](RegisterRules& rules, uint64_t value) {
            using Type = std::remove_reference_t<decltype(rules.*kMember)>;
            rules.*kMember = static_cast<Type>(value);
          }};
}

constexpr std::array kRules = {
    rule<&RegisterRules::physical_address_width>("physical_address_width", 52, 32),
    rule<&RegisterRules::linear_address_width>("linear_address_width", 57, 48),
    rule<&RegisterRules::efer_writable>("efer_writable"),
    rule<&RegisterRules::debugctl_writable>("debugctl_writable"),
    rule<&RegisterRules::perf_global_ctrl_writable>("perf_global_ctrl_writable"),
    rule<&RegisterRules::rtit_ctl_writable>("rtit_ctl_writable"),
    rule<&RegisterRules::lbr_ctl_writable>("lbr_ctl_writable"),
    rule<&RegisterRules::s_cet_writable>("s_cet_writable"),
    rule<&RegisterRules::bndcfgs_writable>("bndcfgs_writable"),
    rule<&RegisterRules::sgx>("sgx", 1),
    rule<&RegisterRules::rtm>("rtm", 1),
};

// What the SDM defines of registers.
RegisterRules widest_rules() {
  RegisterRules rules;
  rules.physical_address_width = 52;
  rules.linear_address_width = 57;
  rules.cr4_writable = 0x11bff7fff;  // all but bits 15, 26 and 29 to 31: FRED is bit 32
  rules.efer_writable = 0xd01;
  rules.debugctl_writable = 0xffc7;
  rules.perf_global_ctrl_writable = rules.rtit_ctl_writable = rules.lbr_ctl_writable = ~0ull;
  rules.s_cet_writable = ~uint64_t{0x3c0};
  rules.bndcfgs_writable = ~uint64_t{0xffc};
  rules.sgx = rules.rtm = true;
  return rules;
}

uint64_t defined_controls(vmx::ControlGroup group) {
  uint64_t bits = 0;
  for (const vmx::ControlName& control : vmx::control_names(group)) bits |= control.mask;
  return bits;
}

class Reader {
 public:
  Reader(const CapabilityValues& values, const Capabilities& otherwise)
      : values_(values), otherwise_(otherwise) {}

  bool stated(uint32_t msr) const { return values_.msrs.contains(msr); }
  uint64_t operator()(uint32_t msr) {
    if (const auto found = values_.msrs.find(msr); found != values_.msrs.end())
      return found->second;
    const uint64_t value = otherwise_.msr(msr).value_or(0);
    missing_.push_back(fmt::format("{} is not stated, taken as {:#x} from the named processor",
                                   capability_msr_name(msr), value));
    return value;
  }
  // Of the two MSRs of a control field, the TRUE one decides where it exists.
  ControlRange range(uint32_t plain, uint32_t truly) {
    const bool only_plain = stated(plain) && !stated(truly);
    const uint64_t allowed = only_plain ? (*this)(plain) : (*this)(truly);
    const auto must = static_cast<uint32_t>(allowed);
    const uint32_t default1 = must | (stated(plain) ? static_cast<uint32_t>((*this)(plain)) : 0);
    return {default1, default1 & ~must, static_cast<uint32_t>(allowed >> 32) & ~default1};
  }
  std::vector<std::string> missing() { return std::move(missing_); }

 private:
  const CapabilityValues& values_;
  const Capabilities& otherwise_;
  std::vector<std::string> missing_;
};

}  // namespace

std::span<const RegisterRule> register_rule_names() { return kRules; }

const RegisterRule* find_register_rule(std::string_view name) {
  const std::string wanted = normalized_name(name);
  for (const RegisterRule& rule : kRules)
    if (normalized_name(rule.name) == wanted) return &rule;
  return nullptr;
}

CapabilityValues values_of(const Capabilities& capabilities) {
  CapabilityValues values;
  for (uint32_t index = vmx::kFirstVmxMsr; index <= vmx::kLastVmxMsr; ++index)
    if (const auto value = capabilities.msr(index)) values.msrs[index] = *value;
  for (const RegisterRule& rule : kRules)
    values.rules[rule.name] = rule.get(capabilities.registers);
  return values;
}

Capabilities any_processor() {
  using vmx::ControlGroup;
  Capabilities c = vmx::nestor_capabilities();
  const auto offer = [](ControlRange& range, ControlGroup group) {
    range.offered |= static_cast<uint32_t>(defined_controls(group)) & ~range.default1;
  };
  offer(c.pin, ControlGroup::kPinBased);
  offer(c.primary, ControlGroup::kPrimaryProcBased);
  offer(c.exit, ControlGroup::kVmExit);
  offer(c.entry, ControlGroup::kVmEntry);
  c.secondary = static_cast<uint32_t>(defined_controls(ControlGroup::kSecondaryProcBased));
  c.tertiary = defined_controls(ControlGroup::kTertiaryProcBased);
  c.secondary_exit = defined_controls(ControlGroup::kSecondaryVmExit);
  c.vm_functions = defined_controls(ControlGroup::kVmFunction);
  c.error_code_for_any_vector = true;
  c.ept_vpid = ~uint64_t{0};
  c.misc |= vmx::vmx_misc::kHlt | vmx::vmx_misc::kShutdown | vmx::vmx_misc::kWaitForSipi |
            vmx::vmx_misc::kIntelPtInVmx | vmx::vmx_misc::kInjectionLength0;
  c.registers = widest_rules();
  return c;
}

StatedCapabilities capabilities_from(const CapabilityValues& values,
                                     const Capabilities& otherwise) {
  Reader msr(values, otherwise);
  Capabilities c;
  const uint64_t basic = msr(vmx::kIa32VmxBasic);
  c.revision_id = static_cast<uint32_t>(basic) & 0x7fffffff;
  c.addresses_32bit = (basic >> 48 & 1) != 0;
  c.ins_outs_information = (basic >> 54 & 1) != 0;
  c.error_code_for_any_vector = (basic >> 56 & 1) != 0;
  c.pin = msr.range(vmx::kIa32VmxPinbasedCtls, vmx::kIa32VmxTruePinbasedCtls);
  c.primary = msr.range(vmx::kIa32VmxProcbasedCtls, vmx::kIa32VmxTrueProcbasedCtls);
  c.exit = msr.range(vmx::kIa32VmxExitCtls, vmx::kIa32VmxTrueExitCtls);
  c.entry = msr.range(vmx::kIa32VmxEntryCtls, vmx::kIa32VmxTrueEntryCtls);
  using vmx::PrimaryProcBased, vmx::SecondaryProcBased, vmx::VmExitControl;
  if (c.offers(PrimaryProcBased::kActivateSecondaryControls))
    c.secondary = static_cast<uint32_t>(msr(vmx::kIa32VmxProcbasedCtls2) >> 32);
  if (c.offers(PrimaryProcBased::kActivateTertiaryControls))
    c.tertiary = msr(vmx::kIa32VmxProcbasedCtls3);
  if (c.offers(VmExitControl::kActivateSecondaryControls))
    c.secondary_exit = msr(vmx::kIa32VmxExitCtls2);
  if (c.offers(SecondaryProcBased::kEnableVmFunctions)) c.vm_functions = msr(vmx::kIa32VmxVmfunc);
  if (c.offers(SecondaryProcBased::kEnableEpt) || c.offers(SecondaryProcBased::kEnableVpid))
    c.ept_vpid = msr(vmx::kIa32VmxEptVpidCap);
  const uint64_t misc = msr(vmx::kIa32VmxMisc);
  c.preemption_timer_shift = misc & 0x1f;
  c.cr3_target_count = static_cast<uint8_t>(std::min<uint64_t>(misc >> 16 & 0x1ff, 4));
  c.msr_list_size = static_cast<uint16_t>(512 * ((misc >> 25 & 7) + 1));
  c.misc = misc & (vmx::vmx_misc::kStoresLma | vmx::vmx_misc::kHlt | vmx::vmx_misc::kShutdown |
                   vmx::vmx_misc::kWaitForSipi | vmx::vmx_misc::kIntelPtInVmx |
                   vmx::vmx_misc::kVmwriteAnyField | vmx::vmx_misc::kInjectionLength0);
  c.cr0_fixed0 = msr(vmx::kIa32VmxCr0Fixed0);
  c.cr0_fixed1 = msr(vmx::kIa32VmxCr0Fixed1);
  c.cr4_fixed0 = msr(vmx::kIa32VmxCr4Fixed0);

  c.registers = otherwise.registers;
  c.registers.cr4_writable = msr(vmx::kIa32VmxCr4Fixed1);
  std::vector<std::string> assumed = msr.missing();
  for (const RegisterRule& rule : kRules) {
    if (const auto found = values.rules.find(rule.name); found != values.rules.end())
      rule.set(c.registers, found->second);
  }
  return {c, std::move(assumed)};
}

}  // namespace nestor::emu
