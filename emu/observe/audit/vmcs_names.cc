// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_names.h"

#include <array>
#include <charconv>
#include <map>

#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;
using Names = std::map<std::string, Field, std::less<>>;

Names make_names() {
  Names names;
  for (const vmx::FieldInfo& info : vmx::kFields) {
    names.emplace(normalized_name(info.name), info.field);
    names.emplace(normalized_name(info.identifier), info.field);
    const size_t open = info.name.find('('), close = info.name.find(')');
    if (open == std::string_view::npos || close == std::string_view::npos) continue;
    names.emplace(normalized_name(info.name.substr(0, open)), info.field);
    names.emplace(normalized_name(info.name.substr(open + 1, close - open - 1)), info.field);
  }
  return names;
}

struct MsrName {
  vmx::MsrIndex index;
  std::string_view name;
};
constexpr std::array kMsrs = {
    MsrName{vmx::kIa32VmxBasic, "IA32_VMX_BASIC"},
    MsrName{vmx::kIa32VmxPinbasedCtls, "IA32_VMX_PINBASED_CTLS"},
    MsrName{vmx::kIa32VmxProcbasedCtls, "IA32_VMX_PROCBASED_CTLS"},
    MsrName{vmx::kIa32VmxExitCtls, "IA32_VMX_EXIT_CTLS"},
    MsrName{vmx::kIa32VmxEntryCtls, "IA32_VMX_ENTRY_CTLS"},
    MsrName{vmx::kIa32VmxMisc, "IA32_VMX_MISC"},
    MsrName{vmx::kIa32VmxCr0Fixed0, "IA32_VMX_CR0_FIXED0"},
    MsrName{vmx::kIa32VmxCr0Fixed1, "IA32_VMX_CR0_FIXED1"},
    MsrName{vmx::kIa32VmxCr4Fixed0, "IA32_VMX_CR4_FIXED0"},
    MsrName{vmx::kIa32VmxCr4Fixed1, "IA32_VMX_CR4_FIXED1"},
    MsrName{vmx::kIa32VmxVmcsEnum, "IA32_VMX_VMCS_ENUM"},
    MsrName{vmx::kIa32VmxProcbasedCtls2, "IA32_VMX_PROCBASED_CTLS2"},
    MsrName{vmx::kIa32VmxEptVpidCap, "IA32_VMX_EPT_VPID_CAP"},
    MsrName{vmx::kIa32VmxTruePinbasedCtls, "IA32_VMX_TRUE_PINBASED_CTLS"},
    MsrName{vmx::kIa32VmxTrueProcbasedCtls, "IA32_VMX_TRUE_PROCBASED_CTLS"},
    MsrName{vmx::kIa32VmxTrueExitCtls, "IA32_VMX_TRUE_EXIT_CTLS"},
    MsrName{vmx::kIa32VmxTrueEntryCtls, "IA32_VMX_TRUE_ENTRY_CTLS"},
    MsrName{vmx::kIa32VmxVmfunc, "IA32_VMX_VMFUNC"},
    MsrName{vmx::kIa32VmxProcbasedCtls3, "IA32_VMX_PROCBASED_CTLS3"},
    MsrName{vmx::kIa32VmxExitCtls2, "IA32_VMX_EXIT_CTLS2"},
};

}  // namespace

std::string normalized_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
    if (c >= 'A' && c <= 'Z') out += static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, hexadecimal ? 16 : 10);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::optional<FieldAccess> find_vmcs_field(std::string_view name) {
  if (const auto encoding = parse_number(name))
    return *encoding <= 0xffffffff ? vmx::decode_field(static_cast<uint32_t>(*encoding))
                                   : std::nullopt;
  static const Names names = make_names();
  const std::string wanted = normalized_name(name);
  if (const auto found = names.find(wanted); found != names.end())
    return FieldAccess{found->second, false};
  constexpr size_t kSuffix = 4;
  const bool high = wanted.ends_with("high");
  if (!high && !wanted.ends_with("full")) return std::nullopt;
  const auto found = names.find(std::string_view(wanted).substr(0, wanted.size() - kSuffix));
  if (found == names.end() || vmx::width_of(found->second) != vmx::FieldWidth::k64)
    return std::nullopt;
  return FieldAccess{found->second, high};
}

std::optional<uint32_t> find_capability_msr(std::string_view name) {
  const auto index = parse_number(name);
  const std::string wanted = normalized_name(name);
  for (const MsrName& msr : kMsrs) {
    const auto number = static_cast<uint32_t>(msr.index);
    if (index ? *index == number : normalized_name(msr.name) == wanted) return number;
  }
  return std::nullopt;
}

std::string_view capability_msr_name(uint32_t index) {
  for (const MsrName& msr : kMsrs)
    if (static_cast<uint32_t>(msr.index) == index) return msr.name;
  return {};
}

}  // namespace nestor::emu
