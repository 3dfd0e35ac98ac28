// SPDX-License-Identifier: GPL-2.0-or-later
//
// INVLPG, INVPCID, WBINVD, WBNOINVD, INVD. Caches of memory are not modelled.
#include <array>

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

// "INVPCID Descriptor".
struct InvpcidDescriptor {
  uint64_t pcid = 0;  // bits 11:0; all others reserved
  uint64_t linear = 0;
};
enum InvpcidType : uint64_t { kIndividualAddress, kSingleContext };

// What each type drops.
constexpr std::array kDroppedByInvpcid = {
    vmx::Invalidation::Kind::kPcidAddress,
    vmx::Invalidation::Kind::kPcid,
    vmx::Invalidation::Kind::kLinearVpid,
    vmx::Invalidation::Kind::kVpidRetainingGlobals,
};

}  // namespace

Outcome invlpg(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  const MemoryOperand& operand = instruction.operand[0].memory;
  const uint64_t linear =
      unchecked_linear_address(state, operand.segment, effective_address(state, operand));
  if (exits(core, instruction, linear)) return vmx::Transferred{};
  invalidate(core, vmx::Invalidation::Kind::kLinearAddress, linear);
  return vmx::Completed{};
}

Outcome invpcid(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  const bool enabled = !core.vmx().in_non_root() || core.vmx().invpcid_enabled();
  if (!enabled) return undefined_opcode("\"enable INVPCID\" is 0");
  if (state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  InvpcidDescriptor descriptor;
  if (auto fault = load(core, instruction.operand[1].memory,
                        std::span(reinterpret_cast<uint8_t*>(&descriptor), sizeof descriptor))) {
    return to_outcome(*fault);
  }
  const uint64_t type = read_register(state, instruction.operand[0]);
  if (type >= kDroppedByInvpcid.size() || descriptor.pcid >> 12) return general_protection();
  const bool names_context = type == kIndividualAddress || type == kSingleContext;
  if (names_context && descriptor.pcid != 0 && !(state.cr4 & vmx::cr4::kPcide)) {
    return general_protection();
  }
  if (type == kIndividualAddress && !rules(core).canonical(descriptor.linear))
    return general_protection();
  vmx::Invalidation invalidation;
  invalidation.kind = kDroppedByInvpcid[type];
  invalidation.vpid = core.vmx().vpid();
  invalidation.pcid = static_cast<uint16_t>(descriptor.pcid);
  invalidation.linear = descriptor.linear;
  core.invalidate(invalidation);
  return vmx::Completed{};
}

// Both instructions have one exit reason; the qualification tells them apart. Where there is no
// WBNOINVD, the prefix that makes it of WBINVD means nothing.
Outcome wbinvd(Core& core, const Instruction& instruction) {
  if (core.state().cpl() != 0) return general_protection();
  const bool without_invalidation =
      instruction.operation == Operation::kWbnoinvd && core.type().has(vmx::Feature::kWbnoinvd);
  if (exits(core, instruction, without_invalidation)) {
    return vmx::Transferred{};
  }
  if (!without_invalidation) core.empty_caches();
  return vmx::Completed{};
}

Outcome invd(Core& core, const Instruction& instruction) {
  if (core.state().cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  core.empty_caches();
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
