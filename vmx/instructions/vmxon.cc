// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kVmxonName = "VMXON";
constexpr std::string_view kSection = "VMXON—Enter VMX Operation";
constexpr std::string_view kEnabling = "Enabling and Entering VMX Operation";
constexpr std::string_view kRestrictions = "Restrictions on VMX Operation";

// The bits of a control register have the names that they have in the guest-state area, `names`.
CheckFailure unsupported(std::string_view id, std::string_view name, uint64_t value, Field names,
                         uint64_t wrong) {
  return {id,
          name,
          value,
          "must be supported in VMX operation",
          kRestrictions,
          names,
          {wrong & ~value, wrong & value}};
}

}  // namespace

// Why VMXON outside VMX operation is #GP(0) although the CPL is 0.
std::optional<CheckFailure> Vmx::vmxon_refusal() const {
  const CpuState& s = cpu_.state();
  if (cpu_.a20_masked())
    return CheckFailure{"vmxon-a20m", "A20M", 1, "the processor must not be in A20M mode",
                        kRestrictions};
  if (const uint64_t wrong = capabilities_.cr0_violations(s.cr0))
    return unsupported("vmxon-cr0", "CR0", s.cr0, Field::kGuestCr0, wrong);
  if (const uint64_t wrong = capabilities_.cr4_violations(s.cr4))
    return unsupported("vmxon-cr4", "CR4", s.cr4, Field::kGuestCr4, wrong);
  if (!(feature_control & kFeatureControlLock))
    return CheckFailure{"vmxon-feature-control-lock", "IA32_FEATURE_CONTROL", feature_control,
                        "bit 0 (lock) must be 1", kEnabling};
  if (!(feature_control & kFeatureControlVmxOutsideSmx))
    return CheckFailure{"vmxon-feature-control-enable", "IA32_FEATURE_CONTROL", feature_control,
                        "bit 2 (enable VMXON outside SMX operation) must be 1", kEnabling};
  return std::nullopt;
}

Outcome Vmx::vmxon(const InstructionContext& context) {
  const CpuState& s = cpu_.state();
  const bool register_operand = !context.memory && !context.memory_fault;
  if (register_operand) return exception(kUd);
  if (!mode_allows_vmx()) return because(kWrongMode, exception(kUd));
  if (!(s.cr4 & cr4::kVmxe)) return because("CR4.VMXE is 0", exception(kUd));
  if (in_non_root_) return instruction_exit(ExitReason::kVmxon, context, context.displacement);
  if (s.cpl() > 0) return exception(kGp, 0);
  if (in_vmx_operation_) return vm_fail(kVmxonName, InstructionError::kVmxonInRootOperation);

  if (const auto refusal = vmxon_refusal()) {
    sink_.check_failed(*refusal);
    return exception(kGp, 0);
  }
  uint64_t pointer = 0;
  if (const auto fault = read_pointer(context, pointer)) return *fault;
  if (!valid_vmx_pointer(pointer)) {
    sink_.check_failed({"vmxon-pointer", "VMXON pointer", pointer,
                        "must be 4-KByte aligned and within the physical-address width", kSection});
    return vm_fail_invalid(kVmxonName);
  }
  uint32_t revision = 0;
  cpu_.read_physical({pointer}, std::span(reinterpret_cast<uint8_t*>(&revision), sizeof revision));
  if (revision != capabilities_.revision_id) {
    sink_.check_failed({"vmxon-revision", "VMCS revision identifier", revision,
                        "must be that of IA32_VMX_BASIC, with bit 31 clear", kSection});
    return vm_fail_invalid(kVmxonName);
  }
  vmxon_pointer_ = pointer;
  current_vmcs_ = kNoPointer;
  in_vmx_operation_ = true;
  cpu_.state().monitor_armed = false;
  return vm_succeed();
}

}  // namespace nestor::vmx
