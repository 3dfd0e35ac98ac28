// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmxoff(const InstructionContext& context) {
  if (const auto over = begin_instruction(ExitReason::kVmxoff, context)) return *over;
  leave_root_operation();
  cpu_.state().monitor_armed = false;
  return vm_succeed();
}

void Vmx::leave_root_operation() {
  release_current_vmcs();
  vmxon_pointer_ = kNoPointer;
  in_vmx_operation_ = false;
}

}  // namespace nestor::vmx
