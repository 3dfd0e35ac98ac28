// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmptrst(const InstructionContext& context) {
  if (!context.memory && !context.memory_fault) return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kVmptrst, context, context.displacement))
    return *over;
  if (context.memory_fault) return *context.memory_fault;
  std::array<uint8_t, 8> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<uint8_t>(current_vmcs_ >> (8 * i));
  if (const auto fault = cpu_.write_linear(*context.memory, bytes)) return *fault;
  return vm_succeed();
}

}  // namespace nestor::vmx
