// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmxoff(const InstructionContext& context) {
  if (const auto over = begin_instruction(ExitReason::kVmxoff, context)) return *over;
  release_current_vmcs();
  vmxon_pointer_ = kNoPointer;
  in_vmx_operation_ = false;
  return vm_succeed();
}

}  // namespace nestor::vmx
