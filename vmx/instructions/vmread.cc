// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kVmreadName = "VMREAD";
}

// "VMCS Shadowing Bitmap Addresses": a bit for each encoding of 15 bits.
bool Vmx::shadow_access_exits(uint64_t encoding, bool write) {
  if (!secondary(SecondaryProcBased::kVmcsShadowing) || encoding >> 15) return true;
  const uint64_t bitmap = field(write ? Field::kVmwriteBitmap : Field::kVmreadBitmap);
  uint8_t byte = 0xff;
  cpu_.read_physical({bitmap + encoding / 8}, std::span(&byte, 1));
  return (byte >> (encoding % 8)) & 1;
}

Outcome Vmx::unsupported_component(std::string_view instruction, uint64_t encoding) {
  sink_.check_failed({"vmcs-component", "VMCS-field encoding", encoding,
                      "must be that of a field which the processor has",
                      instruction == kVmreadName
                          ? "VMREAD—Read Field from Virtual-Machine Control Structure"
                          : "VMWRITE—Write Field to Virtual-Machine Control Structure"});
  return vm_fail(instruction, InstructionError::kUnsupportedComponent);
}

Outcome Vmx::vmread(const InstructionContext& context) {
  CpuState& s = cpu_.state();
  if (!in_vmx_operation_) return because(kOutsideVmx, exception(kUd));
  if (!mode_allows_vmx()) return because(kWrongMode, exception(kUd));
  const uint64_t mask = operand_mask();
  const uint64_t encoding = s.gpr[context.reg] & mask;
  if (in_non_root_ && shadow_access_exits(encoding, false))
    return instruction_exit(ExitReason::kVmread, context, context.displacement);
  if (s.cpl() > 0) return exception(kGp, 0);

  const uint64_t link = field(Field::kVmcsLinkPointer);
  if (!in_non_root_ && !has_current_vmcs()) return vm_fail_invalid(kVmreadName);
  if (in_non_root_ && link == kNoPointer) return vm_fail_invalid(kVmreadName);

  std::optional<uint64_t> value;
  if (encoding <= 0xffffffff) {
    const auto component = static_cast<uint32_t>(encoding);
    value = in_non_root_ ? load_vmcs(link).vmread(component, capabilities_)
                         : vmcs_.vmread(component, capabilities_);
  }
  if (!value) return unsupported_component(kVmreadName, encoding);

  if (context.memory_fault) return *context.memory_fault;
  if (context.memory) {
    std::array<uint8_t, 8> bytes{};
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(*value >> (8 * i));
    const std::span<const uint8_t> operand(bytes.data(), s.code_64bit() ? 8u : 4u);
    const bool non_root = in_non_root_;
    if (const auto fault = cpu_.write_linear(*context.memory, operand))
      return operand_fault(*fault, non_root);
  } else {
    s.gpr[context.rm_reg] = *value & mask;
  }
  return vm_succeed();
}

}  // namespace nestor::vmx
