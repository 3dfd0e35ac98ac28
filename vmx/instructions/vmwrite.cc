// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kVmwriteName = "VMWRITE";
}

Outcome Vmx::vmwrite(const InstructionContext& context) {
  const CpuState& s = cpu_.state();
  if (!in_vmx_operation_) return because(kOutsideVmx, exception(kUd));
  if (!mode_allows_vmx()) return because(kWrongMode, exception(kUd));
  const uint64_t mask = operand_mask();
  const uint64_t encoding = s.gpr[context.reg] & mask;
  if (in_non_root_ && shadow_access_exits(encoding, true))
    return instruction_exit(ExitReason::kVmwrite, context, context.displacement);
  if (s.cpl() > 0) return exception(kGp, 0);

  const uint64_t link = field(Field::kVmcsLinkPointer);
  if (!in_non_root_ && !has_current_vmcs()) return vm_fail_invalid(kVmwriteName);
  if (in_non_root_ && link == kNoPointer) return vm_fail_invalid(kVmwriteName);

  // Faults of the source operand come before the check whether the field exists.
  uint64_t value = 0;
  if (context.memory || context.memory_fault) {
    std::array<uint8_t, 8> bytes{};
    const std::span<uint8_t> operand(bytes.data(), s.code_64bit() ? 8u : 4u);
    const bool non_root = in_non_root_;
    if (const auto fault = read_operand(context, operand)) return operand_fault(*fault, non_root);
    for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
  } else {
    value = s.gpr[context.rm_reg] & mask;
  }
  if (encoding > 0xffffffff) return unsupported_component(kVmwriteName, encoding);

  const auto component = static_cast<uint32_t>(encoding);
  Vmcs shadow;
  if (in_non_root_) shadow = load_vmcs(link);
  switch ((in_non_root_ ? shadow : vmcs_).vmwrite(component, value, capabilities_)) {
    case Vmcs::WriteResult::kUnsupported:
      return unsupported_component(kVmwriteName, encoding);
    case Vmcs::WriteResult::kReadOnly:
      return vm_fail(kVmwriteName, InstructionError::kVmwriteReadOnly);
    case Vmcs::WriteResult::kOk:
      break;
  }
  if (in_non_root_) store_vmcs(shadow, link);
  return vm_succeed();
}

}  // namespace nestor::vmx
