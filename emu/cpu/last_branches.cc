// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/last_branches.h"

#include "emu/cpu/hardware_core.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/segments.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

// Bits of MSR_LBR_SELECT.
enum Select : uint8_t {
  kToRing0,
  kToOtherRings,
  kConditional,
  kNearRelativeCall,
  kNearIndirectCall,
  kNearReturn,
  kNearIndirectJump,
  kNearRelativeJump,
  kFar,
};

// Of the instruction, if it branches.
Select kind_of(const Instruction& instruction) {
  switch (instruction.branch) {
    case NearBranch::kConditional:
      return kConditional;
    case NearBranch::kRelativeCall:
      return kNearRelativeCall;
    case NearBranch::kIndirectCall:
      return kNearIndirectCall;
    case NearBranch::kReturn:
      return kNearReturn;
    case NearBranch::kIndirectJump:
      return kNearIndirectJump;
    case NearBranch::kRelativeJump:
      return kNearRelativeJump;
    case NearBranch::kNone:
      break;
  }
  return kFar;
}

void record_branch(HardwareCore& core, uint8_t kind, uint64_t from) {
  LastBranches& branches = core.msr_storage().last_branches;
  const Select ends_in = core.state().cpl() == 0 ? kToRing0 : kToOtherRings;
  if ((branches.select >> kind & 1) != 0 || (branches.select >> ends_in & 1) != 0) return;
  branches.record(core.type().model().lbr_pairs, {from, linear_rip(core.state())});
}

// The stored value, and whether the model has the MSR; nullptr: it has not.
uint64_t* branch_msr_of(Core& core, uint32_t index) {
  LastBranches& branches = core.msr_storage().last_branches;
  const unsigned pairs = core.type().model().lbr_pairs;
  if (index == vmx::kMsrLbrSelect) return &branches.select;
  if (index == vmx::kMsrLastbranchTos) return &branches.top;
  if (index == vmx::kMsrLerFromLip) return &branches.before_exception.from;
  if (index == vmx::kMsrLerFromLip + 1) return &branches.before_exception.to;
  if (index - vmx::kMsrLastbranchFrom0 < pairs)
    return &branches.stack[index - vmx::kMsrLastbranchFrom0].from;
  if (index - vmx::kMsrLastbranchTo0 < pairs)
    return &branches.stack[index - vmx::kMsrLastbranchTo0].to;
  return index - vmx::kMsrLbrInfo0 < pairs ? &branches.info[index - vmx::kMsrLbrInfo0] : nullptr;
}

bool branch_msr_can_hold(Core& core, uint32_t index, uint64_t value) {
  constexpr uint64_t kFilters = 0x1ff;  // without call-stack mode
  if (index == vmx::kMsrLbrSelect) return (value & ~kFilters) == 0;
  if (index == vmx::kMsrLastbranchTos) return value < core.type().model().lbr_pairs;
  return index >= vmx::kMsrLbrInfo0 || core.vmx().capabilities().registers.canonical(value);
}

}  // namespace

vmx::MsrStatus read_last_branch(Core& core, uint32_t index, uint64_t& value) {
  const uint64_t* const stored = branch_msr_of(core, index);
  if (stored == nullptr) return vmx::MsrStatus::kGeneralProtection;
  value = *stored;
  return vmx::MsrStatus::kOk;
}

vmx::MsrStatus write_last_branch(Core& core, uint32_t index, uint64_t value) {
  uint64_t* const stored = branch_msr_of(core, index);
  if (stored == nullptr || !branch_msr_can_hold(core, index, value))
    return vmx::MsrStatus::kGeneralProtection;
  *stored = value;
  return vmx::MsrStatus::kOk;
}

void BranchRecording::begin() {
  const vmx::CpuState& state = core_.state();
  from_ = linear_rip(state);
  const auto instruction = core_.instruction_at_rip();
  // A repeated string instruction comes back to itself without a branch.
  recording_ = instruction && !instruction->repeated;
  if (!recording_) return;
  non_root_ = core_.vmx().in_non_root();
  next_ = next_rip(state, instruction->length);
  kind_ = kind_of(*instruction);
  always_ = instruction->always_branches();
  instructions_ = core_.context().instructions;
  recorded_ = core_.msr_storage().last_branches.recorded;
}

void BranchRecording::record() {
  if (core_.vmx().in_non_root() != non_root_) return;
  const bool executed = core_.context().instructions == instructions_ + 1;
  const bool delivered = core_.msr_storage().last_branches.recorded != recorded_;
  // A taken branch to the next instruction is seen only where it is always taken, one to itself
  // never.
  const bool branched = always_ || core_.state().rip != next_;
  if (executed && !delivered && branched) record_branch(core_, kind_, from_);
}

// A debug exception has cleared the flag by now, unless VM entry injects it.
void record_event(HardwareCore& core, uint64_t from) {
  if (!records_branches(core.state())) return;
  LastBranches& branches = core.msr_storage().last_branches;
  branches.before_exception = branches.stack[branches.top];
  record_branch(core, kFar, from);
}

}  // namespace nestor::emu
