// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers that are neither control nor general: MSRs, counters, segment bases.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/performance_monitor.h"
#include "vmx/msr_index.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

// What the current mode sees of the counter.
uint64_t visible_tsc(Core& core) {
  const uint64_t tsc = core.tsc();
  return core.vmx().in_non_root() ? core.vmx().guest_tsc(tsc) : tsc;
}

bool tsc_forbidden(const CpuState& state) {
  return (state.cr4 & vmx::cr4::kTsd) && state.cpl() != 0;
}

vmx::SegmentRegister base_segment(const Instruction& instruction) {
  const bool fs = instruction.operation == Operation::kRdfsbase ||
                  instruction.operation == Operation::kWrfsbase;
  return fs ? vmx::kFs : vmx::kGs;
}

bool has_segment_bases(const CpuState& state, const Instruction& instruction) {
  return instruction.mode == CodeMode::k64 && (state.cr4 & vmx::cr4::kFsgsbase);
}

}  // namespace

Outcome rdmsr(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  const auto index = static_cast<uint32_t>(state.gpr[vmx::kRcx]);
  if (core.vmx().in_non_root() &&
      core.vmx().read_msr_exits(index, context_of(state, instruction))) {
    return vmx::Transferred{};
  }
  if (const auto virtualized = core.vmx().read_virtual_apic_msr(index)) {
    write_edx_eax(state, *virtualized);
    return vmx::Completed{};
  }
  uint64_t value = 0;
  if (core.read_msr(index, value) != vmx::MsrStatus::kOk)
    return vmx::because("this processor has no such MSR", {index}, general_protection());
  if (index == vmx::kIa32TimeStampCounter && core.vmx().in_non_root()) {
    value = core.vmx().guest_tsc(value);
  }
  write_edx_eax(state, value);
  return vmx::Completed{};
}

Outcome wrmsr(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  const auto index = static_cast<uint32_t>(state.gpr[vmx::kRcx]);
  if (core.vmx().in_non_root() &&
      core.vmx().write_msr_exits(index, context_of(state, instruction))) {
    return vmx::Transferred{};
  }
  const uint64_t value = read_edx_eax(state);
  const auto virtualized = core.vmx().write_virtual_apic_msr(index, value);
  const vmx::MsrStatus status = virtualized ? *virtualized : core.write_msr(index, value);
  if (status != vmx::MsrStatus::kOk) {
    const bool locked = index == vmx::kIa32FeatureControl &&
                        (core.vmx().feature_control & vmx::kFeatureControlLock) != 0;
    return vmx::because(locked ? "IA32_FEATURE_CONTROL is locked"
                               : "the MSR does not exist, or does not take this value",
                        {index, value}, general_protection());
  }
  return vmx::Completed{};
}

Outcome rdtsc(Core& core, const Instruction& instruction) {
  if (tsc_forbidden(core.state())) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  write_edx_eax(core.state(), visible_tsc(core));
  return vmx::Completed{};
}

Outcome rdtscp(Core& core, const Instruction& instruction) {
  const bool enabled = !core.vmx().in_non_root() || core.vmx().rdtscp_enabled();
  if (!enabled) return undefined_opcode("\"enable RDTSCP\" is 0");
  if (tsc_forbidden(core.state())) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  CpuState& state = core.state();
  write_edx_eax(state, visible_tsc(core));
  state.gpr[vmx::kRcx] = state.tsc_aux & 0xffffffff;
  return vmx::Completed{};
}

// With "enable RDTSCP" 0 it does not exist either; it never causes a VM exit.
Outcome rdpid(Core& core, const Instruction& instruction) {
  const bool enabled = !core.vmx().in_non_root() || core.vmx().rdtscp_enabled();
  if (!enabled) return undefined_opcode("\"enable RDTSCP\" is 0");
  CpuState& state = core.state();
  write_register(state, instruction.operand[0], state.tsc_aux & 0xffffffff);
  return vmx::Completed{};
}

Outcome rdpmc(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (!(state.cr4 & vmx::cr4::kPce) && state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const auto count =
      core.performance_monitor().counter(static_cast<uint32_t>(state.gpr[vmx::kRcx]));
  if (!count) return general_protection();
  write_edx_eax(core.state(), *count);
  return vmx::Completed{};
}

Outcome read_segment_base(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (!has_segment_bases(state, instruction)) return undefined_opcode();
  write_register(state, instruction.operand[0], state.segment[base_segment(instruction)].base);
  return vmx::Completed{};
}

Outcome write_segment_base(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (!has_segment_bases(state, instruction)) return undefined_opcode();
  const uint64_t base = read_register(state, instruction.operand[0]);
  if (!rules(core).canonical(base)) return general_protection();
  state.segment[base_segment(instruction)].base = base;
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
