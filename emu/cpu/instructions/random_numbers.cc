// SPDX-License-Identifier: GPL-2.0-or-later
//
// RDRAND and RDSEED. A number is always at hand.
#include "emu/cpu/cpuid.h"
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::ExitReason;

Outcome deliver_number(Core& core, const Instruction& instruction, ExitReason reason,
                       vmx::Feature feature) {
  // F2 and F3 in front of these opcodes make other instructions, or none.
  if (!offers(core, feature) || instruction.prefixes.rep || instruction.prefixes.repne) {
    return undefined_opcode();
  }
  if (exits(core, instruction, reason)) return vmx::Transferred{};
  vmx::CpuState& state = core.state();
  write_register(state, instruction.operand[0], core.random_number());
  using namespace vmx::rflags;
  state.rflags = (state.rflags & ~(kOf | kSf | kZf | kAf | kPf)) | kCf;
  return vmx::Completed{};
}

}  // namespace

Outcome rdrand(Core& core, const Instruction& instruction) {
  return deliver_number(core, instruction, ExitReason::kRdrand, vmx::Feature::kRdrand);
}

Outcome rdseed(Core& core, const Instruction& instruction) {
  return deliver_number(core, instruction, ExitReason::kRdseed, vmx::Feature::kRdseed);
}

}  // namespace nestor::emu::instructions
