// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMLAUNCH and VMRESUME: the checks before the VM entry ("Basic VM-Entry Checks").
#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmlaunch(const InstructionContext& context) {
  if (const auto over = begin_instruction(ExitReason::kVmlaunch, context)) return *over;
  return vm_entry("VMLAUNCH", true);
}

Outcome Vmx::vmresume(const InstructionContext& context) {
  if (const auto over = begin_instruction(ExitReason::kVmresume, context)) return *over;
  return vm_entry("VMRESUME", false);
}

}  // namespace nestor::vmx
