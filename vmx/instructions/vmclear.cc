// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kVmclearName = "VMCLEAR";
}

Outcome Vmx::vmclear(const InstructionContext& context) {
  if (!context.memory && !context.memory_fault) return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kVmclear, context, context.displacement))
    return *over;
  uint64_t pointer = 0;
  if (const auto fault = read_pointer(context, pointer)) return *fault;
  if (refuses_pointer(kVmclearName, pointer, InstructionError::kVmclearInvalidAddress,
                      InstructionError::kVmclearVmxonPointer))
    return Completed{};

  if (pointer == current_vmcs_) {
    vmcs_.launch_state = Vmcs::LaunchState::kClear;
    vmcs_.cleared = true;
    release_current_vmcs();
  } else {
    // Only the current VMCS is kept on the processor; all others are in memory already.
    Vmcs vmcs = load_vmcs(pointer);
    vmcs.launch_state = Vmcs::LaunchState::kClear;
    vmcs.cleared = true;
    store_vmcs(vmcs, pointer);
  }
  return vm_succeed();
}

}  // namespace nestor::vmx
