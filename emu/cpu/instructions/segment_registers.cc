// SPDX-License-Identifier: GPL-2.0-or-later
//
// MOV and POP to segment registers; LDS, LES, LFS, LGS, LSS.

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

vmx::SegmentRegister segment_of(const Instruction& instruction) {
  switch (instruction.operation) {
    case Operation::kLds:
      return vmx::kDs;
    case Operation::kLes:
      return vmx::kEs;
    case Operation::kLfs:
      return vmx::kFs;
    case Operation::kLgs:
      return vmx::kGs;
    case Operation::kLss:
      return vmx::kSs;
    default:
      return static_cast<vmx::SegmentRegister>(instruction.operand[0].number);
  }
}

}  // namespace

Outcome move_to_segment(Core& core, const Instruction& instruction) {
  const vmx::SegmentRegister segment = segment_of(instruction);
  if (segment == vmx::kCs) return undefined_opcode();
  const auto selector = load_word(core, instruction.operand[1]);
  if (!selector) return to_outcome(selector.fault());
  if (auto fault = load_segment(core, segment, *selector)) return to_outcome(*fault);
  return vmx::Completed{};
}

Outcome pop_segment(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const unsigned width = instruction.stack_width;
  const auto selector = read_stack(core, 0, width);
  if (!selector) return to_outcome(selector.fault());
  // As wide as the stack is before SS changes.
  const uint64_t old_rsp = state.gpr[vmx::kRsp];
  set_stack_pointer(state, old_rsp + width);
  const auto segment = segment_of(instruction);
  if (auto fault = load_segment(core, segment, static_cast<uint16_t>(*selector))) {
    state.gpr[vmx::kRsp] = old_rsp;
    return to_outcome(*fault);
  }
  return vmx::Completed{};
}

Outcome load_far_pointer(Core& core, const Instruction& instruction) {
  const auto pointer = read_far_pointer(core, instruction);
  if (!pointer) return to_outcome(pointer.fault());
  if (auto fault = load_segment(core, segment_of(instruction), pointer->selector)) {
    return to_outcome(*fault);
  }
  write_register(core.state(), instruction.operand[0], pointer->offset);
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
