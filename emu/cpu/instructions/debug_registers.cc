// SPDX-License-Identifier: GPL-2.0-or-later
//
// MOV to and from debug registers: SDM volume 3B, "Debug Registers".
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

constexpr uint64_t kDr6Writable = 0xe00f, kDr6Ones = 0xffff0ff0;
constexpr uint64_t kDr7Writable = 0xffff23ff, kDr7Ones = 0x400;
constexpr uint64_t kGeneralDetectEnable = 1 << 13;  // DR7.GD

// What both directions begin with. MOV-DR exiting takes priority over #GP for the CPL and over #UD
// for DR4 and DR5 with CR4.DE ("Instructions That Cause VM Exits Conditionally").
std::optional<Outcome> begin(Core& core, const Instruction& instruction, uint8_t number,
                             bool from_dr, uint8_t gpr) {
  const CpuState& state = core.state();
  if (number > 7) return undefined_opcode();
  if (core.vmx().in_non_root() &&
      core.vmx().mov_dr_exits(number, from_dr, gpr, context_of(state, instruction))) {
    return vmx::Transferred{};
  }
  const bool alias = number == 4 || number == 5;
  if (alias && (state.cr4 & vmx::cr4::kDe)) return undefined_opcode();
  if (state.cpl() != 0) return general_protection();
  if (state.dr7 & kGeneralDetectEnable) {
    return vmx::exception(vmx::kDb, std::nullopt, vmx::debug_cause::kGeneralDetect);
  }
  return std::nullopt;
}

}  // namespace

Outcome mov_to_dr(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const uint8_t number = instruction.operand[0].number;
  const Operand& source = instruction.operand[1];
  if (auto outcome = begin(core, instruction, number, false, source.number)) return *outcome;
  const uint64_t value = read_register(state, source);
  if (number < 4) {
    state.dr[number] = value;
    return vmx::Completed{};
  }
  if (value >> 32) return general_protection();
  const bool status = number == 4 || number == 6;
  if (status) {
    state.dr6 = (value & kDr6Writable) | kDr6Ones;
  } else {
    state.dr7 = (value & kDr7Writable) | kDr7Ones;
  }
  return vmx::Completed{};
}

Outcome mov_from_dr(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const Operand& target = instruction.operand[0];
  const uint8_t number = instruction.operand[1].number;
  if (auto outcome = begin(core, instruction, number, true, target.number)) return *outcome;
  const bool status = number == 4 || number == 6;
  write_register(state, target, number < 4 ? state.dr[number] : status ? state.dr6 : state.dr7);
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
