// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/last_branches.h"

#include <array>
#include <span>

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

bool is_prefix(uint8_t byte, bool code64) {
  constexpr uint8_t kPrefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                   0x66, 0x67, 0xf0, 0xf2, 0xf3};
  for (const uint8_t prefix : kPrefixes)
    if (byte == prefix) return true;
  return code64 && (byte & 0xf0) == 0x40;  // REX
}

// What the instruction would be, if it branched.
Select kind_of(std::span<const uint8_t> code, bool code64) {
  while (!code.empty() && is_prefix(code[0], code64)) code = code.subspan(1);
  if (code.size() < 2) return kFar;
  const uint8_t opcode = code[0], reg = code[1] >> 3 & 7;
  const bool long_condition = opcode == 0x0f && (code[1] & 0xf0) == 0x80;
  if ((opcode & 0xf0) == 0x70 || (opcode & 0xfc) == 0xe0 || long_condition) return kConditional;
  switch (opcode) {
    case 0xe8:
      return kNearRelativeCall;
    case 0xe9:
    case 0xeb:
      return kNearRelativeJump;
    case 0xc2:
    case 0xc3:
      return kNearReturn;
    case 0xff:
      return reg == 2 ? kNearIndirectCall : reg == 4 ? kNearIndirectJump : kFar;
    default:
      return kFar;
  }
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

bool records_branches(const HardwareCore& core) {
  return (core.state().debugctl & vmx::debugctl::kLbr) != 0;
}

BranchRecording::BranchRecording(HardwareCore& core)
    : core_(core), recording_(records_branches(core)) {
  if (!recording_) return;
  const vmx::CpuState& state = core.state();
  from_ = linear_rip(state);
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  (void)core.fetch(from_, bytes, fetched);
  const std::span code(bytes.data(), fetched);
  const auto instruction = core.decoder().decode(code, code_mode(state));
  // A repeated string instruction comes back to itself without a branch.
  recording_ = instruction && !instruction->prefixes.rep && !instruction->prefixes.repne;
  if (!recording_) return;
  non_root_ = core.vmx().in_non_root();
  next_ = next_rip(state, instruction->length);
  kind_ = kind_of(code, state.code_64bit());
  instructions_ = core.context().instructions;
  recorded_ = core.msr_storage().last_branches.recorded;
}

void BranchRecording::finish() {
  if (!recording_ || core_.vmx().in_non_root() != non_root_) return;
  const bool executed = core_.context().instructions == instructions_ + 1;
  const bool delivered = core_.msr_storage().last_branches.recorded != recorded_;
  // A taken branch to the next instruction is seen only where it is always taken, one to itself
  // never.
  const bool always = kind_ >= kNearRelativeCall && kind_ <= kNearRelativeJump;
  const bool branched = always || core_.state().rip != next_;
  if (executed && !delivered && branched) record_branch(core_, kind_, from_);
}

// A debug exception has cleared the flag by now, unless VM entry injects it.
void record_event(HardwareCore& core, uint64_t from) {
  if (!records_branches(core)) return;
  LastBranches& branches = core.msr_storage().last_branches;
  branches.before_exception = branches.stack[branches.top];
  record_branch(core, kFar, from);
}

}  // namespace nestor::emu
