// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VMX instructions: the operands are decoded here, all else is VMX's.
#include <algorithm>
#include <iterator>

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using Method = vmx::Outcome (vmx::Vmx::*)(const vmx::InstructionContext&);

constexpr unsigned kRegisterSized = 0;  // 8 bytes in 64-bit mode, else 4

struct VmxInstruction {
  Operation operation;
  Method method;
  unsigned size;  // of the memory operand, if there is one
  SegmentAccess access;
};

constexpr VmxInstruction kVmxInstructions[] = {
#define NESTOR_INSTRUCTION(...)
#define NESTOR_VMX_INSTRUCTION(operation, method, size, access, ...) \
  {Operation::operation, &vmx::Vmx::method, size, SegmentAccess::access},
#include "emu/decode/instructions.inc"
};

}  // namespace

Outcome vmx_instruction(Core& core, const Instruction& instruction) {
  const auto* entry =
      std::ranges::find(kVmxInstructions, instruction.operation, &VmxInstruction::operation);
  if (entry == std::end(kVmxInstructions)) return undefined_opcode();
  const unsigned register_size = instruction.mode == CodeMode::k64 ? 8 : 4;
  const unsigned size = entry->size == kRegisterSized ? register_size : entry->size;
  const auto context = context_of(core.state(), instruction, size, entry->access);
  return to_outcome((core.vmx().*entry->method)(context));
}

}  // namespace nestor::emu::instructions
