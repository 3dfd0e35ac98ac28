// SPDX-License-Identifier: GPL-2.0-or-later
#include <span>

#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmptrst(const InstructionContext& context) {
  if (!context.memory && !context.memory_fault) return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kVmptrst, context, context.displacement))
    return *over;
  if (context.memory_fault) return *context.memory_fault;
  const std::span pointer(reinterpret_cast<const uint8_t*>(&current_vmcs_), sizeof current_vmcs_);
  if (const auto fault = cpu_.write_linear(*context.memory, pointer)) return *fault;
  return vm_succeed();
}

}  // namespace nestor::vmx
