// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmx.h"

namespace nestor::vmx {

// Without the dual-monitor treatment of SMIs and SMM, VMCALL in VMX root operation always fails.
Outcome Vmx::vmcall(const InstructionContext& context) {
  if (!in_vmx_operation_) return because(kOutsideVmx, exception(kUd));
  if (in_non_root_) return instruction_exit(ExitReason::kVmcall, context);
  const CpuState& s = cpu_.state();
  if (s.virtual_8086() || (s.long_mode_active() && !s.code_64bit())) return exception(kUd);
  if (s.cpl() > 0) return exception(kGp, 0);
  return vm_fail("VMCALL", InstructionError::kVmcallInRootOperation);
}

}  // namespace nestor::vmx
