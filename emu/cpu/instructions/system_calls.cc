// SPDX-License-Identifier: GPL-2.0-or-later
//
// SYSCALL, SYSRET, SYSENTER, SYSEXIT. They load fixed segments without reading descriptors.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

enum class CodeWidth { k32, k64 };

constexpr uint32_t dpl_bits(unsigned dpl) { return dpl << 5; }

// Flat 4-GByte segments: accessed, present, page granularity.
vmx::Segment flat_code(uint16_t selector, unsigned dpl, CodeWidth width) {
  constexpr uint32_t kLong = 0xa09b, kDefault32 = 0xc09b;
  const uint32_t rights = (width == CodeWidth::k64 ? kLong : kDefault32) | dpl_bits(dpl);
  return {selector, {rights}, 0xffffffff, 0};
}

vmx::Segment flat_stack(uint16_t selector, unsigned dpl) {
  return {selector, {0xc093 | dpl_bits(dpl)}, 0xffffffff, 0};
}

// The instruction completes, which clears RF and ends what blocks events for one instruction only.
void enter(CpuState& state, uint16_t cs, uint16_t ss, unsigned cpl, CodeWidth width) {
  state.segment[vmx::kCs] = flat_code(cs, cpl, width);
  state.segment[vmx::kSs] = flat_stack(ss, cpl);
  state.rflags &= ~uint64_t{vmx::rflags::kRf};
  state.blocking_by_sti = state.blocking_by_mov_ss = false;
}

constexpr uint16_t selector_of(uint64_t base, unsigned offset, unsigned rpl) {
  return static_cast<uint16_t>(((base + offset) & ~3ull) | rpl);
}

}  // namespace

Outcome syscall(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (instruction.mode != CodeMode::k64 || !(state.efer & vmx::efer::kSce)) {
    return undefined_opcode();
  }
  state.gpr[vmx::kRcx] = next_rip(state, instruction.length);
  state.gpr[vmx::kR11] = state.rflags & ~vmx::rflags::kRf;
  state.rip = state.lstar;
  state.rflags &= ~state.fmask;
  state.rflags |= vmx::rflags::kFixed1;
  const uint64_t base = state.star >> 32 & 0xffff;
  enter(state, selector_of(base, 0, 0), selector_of(base & ~3ull, 8, 0), 0, CodeWidth::k64);
  return Jumped{.traps_by_new_flag = true};
}

Outcome sysret(Core& core, const Instruction& instruction) {
  constexpr uint64_t kRestored = 0x3c7fd7;
  CpuState& state = core.state();
  if (instruction.mode != CodeMode::k64 || !(state.efer & vmx::efer::kSce)) {
    return undefined_opcode();
  }
  if (state.cpl() != 0) return general_protection();
  const bool wide = instruction.prefixes.rex_w;
  const uint64_t target = state.gpr[vmx::kRcx];
  if (wide && !is_canonical(target, state)) return general_protection();
  state.rip = wide ? target : target & 0xffffffff;
  state.rflags = (state.gpr[vmx::kR11] & kRestored) | vmx::rflags::kFixed1;
  const uint64_t base = state.star >> 48;
  enter(state, static_cast<uint16_t>((base + (wide ? 16 : 0)) | 3),
        static_cast<uint16_t>((base + 8) | 3), 3, wide ? CodeWidth::k64 : CodeWidth::k32);
  return Jumped{.traps_by_new_flag = true};
}

Outcome sysenter(Core& core, const Instruction&) {
  CpuState& state = core.state();
  if (!state.protected_mode() || is_null(static_cast<uint16_t>(state.sysenter_cs))) {
    return general_protection();
  }
  const bool long_mode = state.long_mode_active();
  const uint64_t mask = long_mode ? ~0ull : 0xffffffff;
  state.rflags &= ~(vmx::rflags::kVm | vmx::rflags::kIf);
  state.gpr[vmx::kRsp] = state.sysenter_esp & mask;
  state.rip = state.sysenter_eip & mask;
  const uint64_t base = state.sysenter_cs & 0xfffc;
  enter(state, selector_of(base, 0, 0), selector_of(base, 8, 0), 0,
        long_mode ? CodeWidth::k64 : CodeWidth::k32);
  return Jumped{};
}

Outcome sysexit(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const bool null_base = is_null(static_cast<uint16_t>(state.sysenter_cs));
  if (!state.protected_mode() || null_base || state.cpl() != 0) return general_protection();
  const uint64_t rsp = state.gpr[vmx::kRcx], rip = state.gpr[vmx::kRdx];
  const bool wide = instruction.prefixes.rex_w;
  if (wide && (!is_canonical(rsp, state) || !is_canonical(rip, state))) return general_protection();
  const uint64_t mask = wide ? ~0ull : 0xffffffff;
  state.gpr[vmx::kRsp] = rsp & mask;
  state.rip = rip & mask;
  const uint64_t base = state.sysenter_cs & 0xffff;
  enter(state, selector_of(base, wide ? 32 : 16, 3), selector_of(base, wide ? 40 : 24, 3), 3,
        wide ? CodeWidth::k64 : CodeWidth::k32);
  return Jumped{};
}

}  // namespace nestor::emu::instructions
