// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/start_up.h"

#include "emu/cpu/cpu.h"
#include "emu/cpu/cpuid.h"

namespace nestor::emu {

using vmx::ActivityState;
using vmx::CpuState;

CpuState state_after_init(const CpuState& before) {
  constexpr uint32_t kData = 0x93, kCode = 0x9b, kLdt = 0x82, kBusyTss = 0x8b;
  constexpr uint64_t kKeptOfCr0 = vmx::cr0::kCd | vmx::cr0::kNw;
  CpuState state = before;
  const CpuState reset;
  state.gpr = {};
  state.gpr[vmx::kRdx] = kProcessorSignature;
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

// --- the signals

void Cpu::raise_init() {
  init_pending_ = true;
  // Outside VMX operation it undoes a start that has not begun.
  if (!in_vmx_operation()) start_up_.reset();
  engine_.request_stop();
}

// "Other Causes of VM Exits": a processor that does not wait for it discards it. An INIT that is
// about to be taken makes the processor wait.
void Cpu::raise_start_up(uint8_t vector) {
  const bool root = vmx_.in_vmx_operation() && !vmx_.in_non_root();
  const bool waits = state_.activity == ActivityState::kWaitForSipi && !root;
  const bool will_wait = init_pending_ && !in_vmx_operation() && !bootstrap();
  if ((waits || will_wait) && !start_up_) start_up_ = vector;
}

void Cpu::take_init() {
  if (bootstrap()) {
    // It would begin with the firmware, and there is none.
    end_run(RunEnd::Kind::kReset, 0);
    return;
  }
  state_ = state_after_init(state_);
  apic_.init_reset();
  nmi_pending_ = false;
  flush_pending_ = true;
}

// INIT is blocked in VMX root operation, and in non-root operation while the processor waits for a
// start-up IPI.
bool Cpu::take_init_or_start_up() {
  const bool waits = state_.activity == ActivityState::kWaitForSipi;
  if (init_pending_ && (!vmx_.in_vmx_operation() || (vmx_.in_non_root() && !waits))) {
    init_pending_ = false;
    if (vmx_.in_non_root()) {
      vmx_.init_exits();
    } else {
      take_init();
    }
    return true;
  }
  if (!start_up_ || !waits) return false;
  const uint8_t vector = *start_up_;
  start_up_.reset();
  if (vmx_.in_non_root()) {
    vmx_.sipi_exits(vector);
  } else {
    start_at(state_, vector);
  }
  return true;
}

}  // namespace nestor::emu
