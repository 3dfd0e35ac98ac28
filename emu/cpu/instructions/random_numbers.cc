// SPDX-License-Identifier: GPL-2.0-or-later
//
// RDRAND and RDSEED. A number is always at hand.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {

Outcome random_number(Core& core, const Instruction& instruction) {
  // F2 and F3 in front of these opcodes make other instructions, or none.
  if (instruction.prefixes.rep || instruction.prefixes.repne) return undefined_opcode();
  if (exits(core, instruction)) return vmx::Transferred{};
  vmx::CpuState& state = core.state();
  write_register(state, instruction.operand[0], core.random_number());
  using namespace vmx::rflags;
  state.rflags = (state.rflags & ~(kOf | kSf | kZf | kAf | kPf)) | kCf;
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
