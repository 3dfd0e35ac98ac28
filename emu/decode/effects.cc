// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/decode/effects.h"

#include <capstone/capstone.h>

#include <algorithm>

namespace nestor::emu {
namespace {

RegisterEffect effect_of(unsigned id) {
  switch (id) {
    case X86_INS_MOV:
    case X86_INS_MOVABS:
    case X86_INS_LEA:
      return RegisterEffect::kMove;
    case X86_INS_ADD:
    case X86_INS_INC:
      return RegisterEffect::kAdd;
    case X86_INS_SUB:
    case X86_INS_DEC:
      return RegisterEffect::kSubtract;
    case X86_INS_AND:
      return RegisterEffect::kAnd;
    default:
      return RegisterEffect::kUnknown;
  }
}

NearBranch near_branch(const cs_insn& insn, Operation operation) {
  if (operation != Operation::kOther) return NearBranch::kNone;
  const cs_x86& x86 = insn.detail->x86;
  const bool relative = x86.operands[0].type == X86_OP_IMM;
  if (insn.id == X86_INS_RET) return NearBranch::kReturn;
  if (insn.id == X86_INS_CALL) {
    return relative ? NearBranch::kRelativeCall : NearBranch::kIndirectCall;
  }
  if (insn.id == X86_INS_JMP) {
    return relative ? NearBranch::kRelativeJump : NearBranch::kIndirectJump;
  }
  const cs_detail& detail = *insn.detail;
  const auto* end = detail.groups + detail.groups_count;
  const bool jump = std::find(detail.groups, end, X86_GRP_BRANCH_RELATIVE) != end;
  return jump ? NearBranch::kConditional : NearBranch::kNone;
}

}  // namespace

void set_effects(Instruction& instruction, const cs_insn& decoded) {
  instruction.branch = near_branch(decoded, instruction.operation);
  instruction.effect = effect_of(decoded.id);
}

}  // namespace nestor::emu
