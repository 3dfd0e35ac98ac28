// SPDX-License-Identifier: GPL-2.0-or-later
//
// CPUID, HLT, PAUSE, MONITOR, MWAIT, CLAC, STAC, STI.
#include "emu/cpu/cpuid.h"
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/virtual_interrupts.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

// "Changes to Instruction Behavior in VMX Non-Root Operation": then control passes to the next
// instruction.
bool mwait_passes(const vmx::Vmx& vmx) {
  return vmx.in_non_root() && (vmx.primary(vmx::PrimaryProcBased::kInterruptWindowExiting) ||
                               vmx.virtual_interrupt_recognized());
}

}  // namespace

Outcome cpuid_instruction(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  // CPUID faulting; like other faults that depend on the CPL it comes before the VM exit.
  const bool faults = core.msr_storage().misc_feature_enables & MsrStorage::kCpuidFaulting;
  if (faults && state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const CpuidRegisters registers = cpuid(core, static_cast<uint32_t>(state.gpr[vmx::kRax]),
                                         static_cast<uint32_t>(state.gpr[vmx::kRcx]));
  state.gpr[vmx::kRax] = registers.eax;
  state.gpr[vmx::kRbx] = registers.ebx;
  state.gpr[vmx::kRcx] = registers.ecx;
  state.gpr[vmx::kRdx] = registers.edx;
  return vmx::Completed{};
}

Outcome hlt(Core& core, const Instruction& instruction) {
  if (core.state().cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  core.state().activity = vmx::ActivityState::kHlt;
  return vmx::Completed{};
}

Outcome pause(Core& core, const Instruction& instruction) {
  if (exits(core, instruction)) return vmx::Transferred{};
  return vmx::Completed{};
}

Outcome monitor(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (state.cpl() != 0) return undefined_opcode();
  if (exits(core, instruction)) return vmx::Transferred{};
  if (state.gpr[vmx::kRcx] & 0xffffffff) return general_protection();
  MemoryOperand address;
  address.base = vmx::kRax;
  address.address_size = instruction.address_size;
  address.segment = instruction.prefixes.segment.value_or(vmx::kDs);
  uint8_t monitored = 0;
  if (auto fault = load(core, address, std::span(&monitored, 1))) return to_outcome(*fault);
  core.watch_line(
      unchecked_linear_address(state, address.segment, effective_address(state, address)));
  return vmx::Completed{};
}

Outcome mwait(Core& core, const Instruction& instruction) {
  constexpr uint64_t kInterruptsAsBreakEvents = 1;
  CpuState& state = core.state();
  if (state.cpl() != 0) return undefined_opcode();
  if (state.monitor_armed && core.watched_line_written()) state.monitor_armed = false;
  const bool armed = state.monitor_armed;
  if (exits(core, instruction, armed)) return vmx::Transferred{};
  const uint64_t extensions = state.gpr[vmx::kRcx] & 0xffffffff;
  if (extensions & ~kInterruptsAsBreakEvents) return general_protection();
  state.monitor_armed = false;
  const bool masked_interrupts_wake = extensions != 0;
  const bool masked = (state.rflags & vmx::rflags::kIf) == 0;
  if (armed && !(masked_interrupts_wake && masked && mwait_passes(core.vmx()))) {
    core.wait_for_line(masked_interrupts_wake);
  }
  return vmx::Completed{};
}

Outcome set_access_check(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (state.cpl() != 0) return undefined_opcode();
  if (instruction.operation == Operation::kStac) {
    state.rflags |= vmx::rflags::kAc;
  } else {
    state.rflags &= ~vmx::rflags::kAc;
  }
  return vmx::Completed{};
}

Outcome cli(Core& core, const Instruction&) {
  CpuState& state = core.state();
  const InterruptFlag flag = interrupt_flag(state);
  if (flag == InterruptFlag::kNone) return general_protection();
  state.rflags &= ~uint64_t{flag == InterruptFlag::kIf ? vmx::rflags::kIf : vmx::rflags::kVif};
  return vmx::Completed{};
}

// The blocking begins with the instruction's end.
Outcome sti(Core& core, const Instruction&) {
  CpuState& state = core.state();
  const InterruptFlag flag = interrupt_flag(state);
  const bool pending = (state.rflags & vmx::rflags::kVip) != 0;
  if (flag == InterruptFlag::kNone || (flag == InterruptFlag::kVif && pending))
    return general_protection();
  state.rflags |= flag == InterruptFlag::kIf ? vmx::rflags::kIf : vmx::rflags::kVif;
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
