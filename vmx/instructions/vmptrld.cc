// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kVmptrldName = "VMPTRLD";
}

Outcome Vmx::vmptrld(const InstructionContext& context) {
  if (!context.memory && !context.memory_fault) return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kVmptrld, context, context.displacement))
    return *over;
  uint64_t pointer = 0;
  if (const auto fault = read_pointer(context, pointer)) return *fault;
  if (refuses_pointer(kVmptrldName, pointer, InstructionError::kVmptrldInvalidAddress,
                      InstructionError::kVmptrldVmxonPointer))
    return Completed{};

  uint32_t revision = 0;
  cpu_.read_physical({pointer}, std::span(reinterpret_cast<uint8_t*>(&revision), sizeof revision));
  const bool shadow = revision & kShadowVmcsIndicator;
  if ((revision & ~kShadowVmcsIndicator) != capabilities_.revision_id ||
      (shadow && !capabilities_.offers(SecondaryProcBased::kVmcsShadowing))) {
    sink_.check_failed({"vmptrld-revision", "VMCS revision identifier", revision,
                        "must be that of IA32_VMX_BASIC; bit 31 only where VMCS shadowing exists",
                        "VMPTRLD—Load Pointer to Virtual-Machine Control Structure"});
    return vm_fail(kVmptrldName, InstructionError::kVmptrldIncorrectRevision);
  }
  make_current({pointer});
  return vm_succeed();
}

void Vmx::make_current(ept::PhysicalAddress region) {
  if (region.value == current_vmcs_) return;
  release_current_vmcs();
  vmcs_ = load_vmcs(region.value);
  current_vmcs_ = region.value;
}

}  // namespace nestor::vmx
