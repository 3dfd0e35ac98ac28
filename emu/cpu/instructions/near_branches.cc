// SPDX-License-Identifier: GPL-2.0-or-later
//
// Relative branches in 64-bit mode with the prefix 66, which the processor ignores.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/instructions/returns.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;
namespace rflags = vmx::rflags;

// The condition of Jcc, by the lowest four bits of its opcode ("EFLAGS Condition Codes").
bool condition_holds(uint64_t flags, unsigned code) {
  const auto is_set = [flags](uint64_t flag) { return (flags & flag) != 0; };
  const bool less = is_set(rflags::kSf) != is_set(rflags::kOf);
  const bool conditions[] = {is_set(rflags::kOf),
                             is_set(rflags::kCf),
                             is_set(rflags::kZf),
                             is_set(rflags::kCf | rflags::kZf),
                             is_set(rflags::kSf),
                             is_set(rflags::kPf),
                             less,
                             less || is_set(rflags::kZf)};
  return conditions[code >> 1] != ((code & 1) != 0);
}

// Jcc, LOOP with its kin, JRCXZ; these count in a register as wide as addresses are.
bool branches(CpuState& state, const Instruction& instruction) {
  constexpr uint8_t kLoopne = 0xe0, kLoope = 0xe1, kLoop = 0xe2, kJrcxz = 0xe3;
  if (instruction.branch != NearBranch::kConditional) return true;
  const uint8_t opcode = instruction.branch_opcode;
  if (opcode < kLoopne || opcode > kJrcxz) return condition_holds(state.rflags, opcode & 0xf);
  const uint64_t mask = value_mask(instruction.address_size);
  uint64_t& rcx = state.gpr[vmx::kRcx];
  if (opcode == kJrcxz) return (rcx & mask) == 0;
  rcx = (rcx - 1) & mask;
  const bool zero = (state.rflags & rflags::kZf) != 0;
  return rcx != 0 && (opcode == kLoop || zero == (opcode == kLoope));
}

}  // namespace

Outcome near_branch(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  CpuState next = state;
  const uint64_t behind = state.rip + instruction.length;
  // Capstone states targets as if the instruction stood at address 0.
  const uint64_t target = state.rip + instruction.operand[0].immediate;
  if (!branches(next, instruction)) {
    state.gpr = next.gpr;
    return vmx::Completed{};
  }
  next.rip = target;
  if (!is_canonical(next.rip, state)) return general_protection();
  if (instruction.branch == NearBranch::kRelativeCall) {
    constexpr unsigned kWidth = 8;
    const auto at = linear_address(state, vmx::kSs, state.gpr[vmx::kRsp] - kWidth, kWidth,
                                   SegmentAccess::kWrite);
    if (const auto* event = std::get_if<vmx::Event>(&at)) return *event;
    const std::span bytes(reinterpret_cast<const uint8_t*>(&behind), kWidth);
    if (auto fault = core.write(std::get<uint64_t>(at), bytes, Privilege::kCurrent)) {
      return to_outcome(*fault);
    }
    next.gpr[vmx::kRsp] -= kWidth;
  }
  next.rflags &= ~uint64_t{rflags::kRf};
  return jump_to(core, next);
}

}  // namespace nestor::emu::instructions
