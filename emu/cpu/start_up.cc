// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/start_up.h"

namespace nestor::emu {

using vmx::ActivityState;
using vmx::CpuState;

CpuState state_after_init(const CpuState& before, uint32_t signature) {
  constexpr uint32_t kData = 0x93, kCode = 0x9b, kLdt = 0x82, kBusyTss = 0x8b;
  constexpr uint64_t kKeptOfCr0 = vmx::cr0::kCd | vmx::cr0::kNw;
  CpuState state = before;
  const CpuState reset;
  state.gpr = {};
  state.gpr[vmx::kRdx] = signature;
  state.rip = 0xfff0;
  state.rflags = vmx::rflags::kFixed1;
  for (vmx::Segment& segment : state.segment) segment = {0, {kData}, 0xffff, 0};
  state.segment[vmx::kCs] = {0xf000, {kCode}, 0xffff, 0xffff0000};
  state.segment[vmx::kLdtr].rights = {kLdt};
  state.segment[vmx::kTr].rights = {kBusyTss};
  state.gdtr = state.idtr = {0, 0xffff};
  state.cr0 = vmx::cr0::kEt | (before.cr0 & kKeptOfCr0);
  state.cr2 = state.cr3 = state.cr4 = 0;
  state.pdptes = reset.pdptes;
  state.dr = reset.dr;
  state.dr6 = reset.dr6;
  state.dr7 = reset.dr7;
  state.efer = state.debugctl = 0;
  state.activity = ActivityState::kWaitForSipi;
  state.blocking_by_sti = state.blocking_by_mov_ss = state.blocking_by_nmi = false;
  state.monitor_armed = false;
  state.pending_debug_exceptions = 0;
  return state;
}

void start_at(CpuState& state, uint8_t vector) {
  state.segment[vmx::kCs].selector = static_cast<uint16_t>(vector << 8);
  state.segment[vmx::kCs].base = uint64_t{vector} << 12;
  state.rip = 0;
  state.activity = ActivityState::kActive;
}

}  // namespace nestor::emu
