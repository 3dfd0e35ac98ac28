// SPDX-License-Identifier: GPL-2.0-or-later
//
// MOV to and from control registers, CLTS, LMSW, SMSW.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/devices/apic/local_apic.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;
using Invalidated = vmx::Invalidation::Kind;

constexpr uint64_t kCr3NoInvalidation = 1ull << 63;

constexpr uint64_t kCr0Defined = vmx::cr0::kPe | vmx::cr0::kMp | vmx::cr0::kEm | vmx::cr0::kTs |
                                 vmx::cr0::kEt | vmx::cr0::kNe | vmx::cr0::kWp | vmx::cr0::kAm |
                                 vmx::cr0::kNw | vmx::cr0::kCd | vmx::cr0::kPg;

// Loads the PDPTEs where the register values lead to PAE paging.
std::optional<Fault> load_pdptes(Core& core, uint64_t cr0, uint64_t cr3, uint64_t cr4,
                                 uint64_t efer) {
  const bool pae = (cr0 & vmx::cr0::kPg) && (cr4 & vmx::cr4::kPae) && !(efer & vmx::efer::kLma);
  return pae ? core.reload_pdptes(cr3) : std::nullopt;
}

Outcome load_cr0(Core& core, uint64_t value) {
  CpuState& state = core.state();
  if (value >> 32) return general_protection();
  // "Control Registers": reserved bits remain clear, and ET remains set.
  value = (value & kCr0Defined) | vmx::cr0::kEt;
  const uint64_t changed = value ^ state.cr0;
  const bool paging = value & vmx::cr0::kPg;
  if (paging && !(value & vmx::cr0::kPe)) return general_protection();
  if ((value & vmx::cr0::kNw) && !(value & vmx::cr0::kCd)) return general_protection();
  if (!core.vmx().cr0_allowed(value)) return general_protection();

  uint64_t efer = state.efer;
  if (changed & vmx::cr0::kPg) {
    if (paging && (efer & vmx::efer::kLme)) {
      const vmx::Segment& tr = state.segment[vmx::kTr];
      const bool tss16 = !tr.rights.unusable() && !(tr.rights.type() & 8);
      if (!(state.cr4 & vmx::cr4::kPae) || state.segment[vmx::kCs].rights.long_mode() || tss16) {
        return general_protection();
      }
      efer |= vmx::efer::kLma;
    }
    if (!paging) {
      if ((state.cr4 & vmx::cr4::kPcide) || state.code_64bit()) return general_protection();
      efer &= ~vmx::efer::kLma;
    }
  }
  if (changed & (vmx::cr0::kPg | vmx::cr0::kCd | vmx::cr0::kNw)) {
    if (const auto fault = load_pdptes(core, value, state.cr3, state.cr4, efer)) {
      return to_outcome(*fault);
    }
  }
  state.cr0 = value;
  state.efer = efer;
  if (changed & ~value & vmx::cr0::kPg) {
    invalidate(core, Invalidated::kLinearVpid);
  } else if (changed & (vmx::cr0::kPg | vmx::cr0::kPe | vmx::cr0::kWp)) {
    invalidate(core, Invalidated::kAccessRights);
  }
  return vmx::Completed{};
}

Outcome load_cr3(Core& core, uint64_t value) {
  CpuState& state = core.state();
  const bool retains = (state.cr4 & vmx::cr4::kPcide) && (value & kCr3NoInvalidation);
  if (retains) value &= ~kCr3NoInvalidation;
  if (state.long_mode_active() && !rules(core).physical(value)) return general_protection();
  if (const auto fault = load_pdptes(core, state.cr0, value, state.cr4, state.efer)) {
    return to_outcome(*fault);
  }
  state.cr3 = value;
  invalidate(core, retains ? Invalidated::kAccessRights : Invalidated::kPcid);
  return vmx::Completed{};
}

// "Operations that Invalidate TLBs and Paging-Structure Caches".
Invalidated dropped_by_cr4(uint64_t changed, uint64_t value) {
  if ((changed & vmx::cr4::kPge) || (changed & ~value & vmx::cr4::kPcide)) {
    return Invalidated::kLinearVpid;
  }
  if ((changed & vmx::cr4::kPae) || (changed & value & vmx::cr4::kSmep)) {
    return Invalidated::kPcidAndGlobals;
  }
  return Invalidated::kAccessRights;
}

Outcome load_cr4(Core& core, uint64_t value) {
  constexpr uint64_t kLoadsPdptes =
      vmx::cr4::kPae | vmx::cr4::kPge | vmx::cr4::kPse | vmx::cr4::kSmep;
  constexpr uint64_t kInvalidates = kLoadsPdptes | vmx::cr4::kPcide | vmx::cr4::kSmap |
                                    vmx::cr4::kPke | vmx::cr4::kPks | vmx::cr4::kLa57;
  CpuState& state = core.state();
  if (value & ~rules(core).cr4_writable) return general_protection();
  const uint64_t changed = value ^ state.cr4;
  const bool long_mode = state.long_mode_active();
  if (long_mode && !(value & vmx::cr4::kPae)) return general_protection();
  if (long_mode && (changed & vmx::cr4::kLa57)) return general_protection();
  if ((changed & value & vmx::cr4::kPcide) && (!long_mode || (state.cr3 & 0xfff))) {
    return general_protection();
  }
  if (!core.vmx().cr4_allowed(value)) return general_protection();
  if (changed & kLoadsPdptes) {
    if (const auto fault = load_pdptes(core, state.cr0, state.cr3, value, state.efer)) {
      return to_outcome(*fault);
    }
  }
  state.cr4 = value;
  if (changed & kInvalidates) invalidate(core, dropped_by_cr4(changed, value));
  return vmx::Completed{};
}

Outcome load_cr8(Core& core, uint64_t value) {
  if (value >> 4) return general_protection();
  if (!core.vmx().write_virtual_cr8(value)) core.apic().set_tpr(static_cast<uint8_t>(value << 4));
  return vmx::Completed{};
}

bool control_register_exists(uint8_t number, CodeMode mode) {
  return number == 0 || number == 2 || number == 3 || number == 4 ||
         (number == 8 && mode == CodeMode::k64);
}

}  // namespace

Outcome mov_to_cr(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const uint8_t number = instruction.operand[0].number;
  const Operand& source = instruction.operand[1];
  if (!control_register_exists(number, instruction.mode)) return undefined_opcode();
  if (state.cpl() != 0) return general_protection();
  uint64_t value = read_register(state, source);
  if (number != 2 && core.vmx().in_non_root() &&
      core.vmx().mov_to_cr_exits(number, source.number, value, context_of(state, instruction))) {
    return vmx::Transferred{};
  }
  switch (number) {
    case 0:
      return load_cr0(core, value);
    case 2:
      state.cr2 = value;
      return vmx::Completed{};
    case 3:
      return load_cr3(core, value);
    case 4:
      return load_cr4(core, value);
    default:
      return load_cr8(core, value);
  }
}

Outcome mov_from_cr(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const Operand& target = instruction.operand[0];
  const uint8_t number = instruction.operand[1].number;
  if (!control_register_exists(number, instruction.mode)) return undefined_opcode();
  if (state.cpl() != 0) return general_protection();
  const bool may_exit = number == 3 || number == 8;
  if (may_exit && core.vmx().in_non_root() &&
      core.vmx().mov_from_cr_exits(number, target.number, context_of(state, instruction))) {
    return vmx::Transferred{};
  }
  uint64_t value = 0;
  switch (number) {
    case 0:
      value = core.vmx().visible_cr0(state.cr0);
      break;
    case 2:
      value = state.cr2;
      break;
    case 3:
      value = state.cr3;
      break;
    case 4:
      value = core.vmx().visible_cr4(state.cr4);
      break;
    default:
      value = core.vmx().virtual_cr8().value_or(core.apic().tpr() >> 4);
      break;
  }
  write_register(state, target, value);
  return vmx::Completed{};
}

Outcome clts(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  if (!core.vmx().in_non_root()) {
    state.cr0 &= ~vmx::cr0::kTs;
    return vmx::Completed{};
  }
  if (core.vmx().clts_exits(context_of(state, instruction))) return vmx::Transferred{};
  state.cr0 = core.vmx().cr0_after_clts();
  return vmx::Completed{};
}

Outcome lmsw(Core& core, const Instruction& instruction) {
  constexpr uint64_t kReplaced = vmx::cr0::kMp | vmx::cr0::kEm | vmx::cr0::kTs;
  CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  const auto source = load_word(core, instruction.operand[0]);
  if (!source) return to_outcome(source.fault());
  // PE can be set but not cleared.
  uint64_t value = (state.cr0 & ~kReplaced) | (*source & (kReplaced | vmx::cr0::kPe));
  if (core.vmx().in_non_root()) {
    const vmx::InstructionContext context = context_of(state, instruction);
    if (core.vmx().lmsw_exits(*source, context.memory, value, context)) return vmx::Transferred{};
  }
  return load_cr0(core, value);
}

Outcome smsw(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if ((state.cr4 & vmx::cr4::kUmip) && state.cpl() != 0) return general_protection();
  if (auto fault = store_word(core, instruction.operand[0], core.vmx().visible_cr0(state.cr0))) {
    return to_outcome(*fault);
  }
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
