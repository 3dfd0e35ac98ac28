// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/boundary.h"

#include "vmx/guest_state_formats.h"

namespace nestor::emu {

using vmx::ActivityState;
using vmx::Event;
using vmx::EventType;

namespace {

// Neither STI nor MOV SS blocks events at this boundary.
bool unblocked(const vmx::CpuState& state) {
  return !state.blocking_by_sti && !state.blocking_by_mov_ss;
}

}  // namespace

bool interrupt_window_open(const vmx::CpuState& state) {
  return (state.rflags & vmx::rflags::kIf) != 0 && unblocked(state);
}

// The order of SDM volume 3A, "Priority Among Concurrent Events", with what VMX adds to it in
// volume 3C, "VM-Exit Behavior" and "Interrupt-Window Exiting and Virtual-Interrupt Delivery":
//
//   1. the event that VM entry injects: it belongs to the VM entry, and nothing comes in between;
//   2. VM exits of APIC virtualization that the last instruction caused, trap-like: TPR below
//      threshold, virtualized EOI, APIC write;
//   3. INIT, and the start-up IPI of a processor that waits for one;
//   4. the monitor trap flag;
//   5. debug traps of the last instruction, unless MOV SS holds them back;
//   6. the VMX-preemption timer, then the NMI window (in boundary_exits());
//   7. NMI;
//   8. the interrupt window, unless an NMI is about to be taken (in boundary_exits());
//   9. a virtual interrupt, then an external one.
bool InstructionBoundary::take_event() {
  vmx::Vmx& vmx = core_.vmx();
  if (const auto injected = core_.take_injected()) {
    delivery_.deliver(*injected, EventOrigin::kVmEntry);
    return true;
  }
  if (vmx.apic_exits()) return true;
  if (signals_.take_init_or_start_up()) return true;
  if (vmx.in_non_root() && vmx.monitor_trap_flag_exits()) return true;
  if (take_debug_exceptions()) return true;
  const vmx::CpuState& state = core_.state();
  // Virtual-NMI blocking holds back the NMI window, but no NMI. STI and MOV SS hold back both;
  // where NMIs cause VM exits, that is the processor's choice ("Event Blocking").
  const bool nmi = signals_.nmi() && unblocked(state) && !state.blocking_by_nmi &&
                   state.activity != ActivityState::kWaitForSipi;
  if (vmx.in_non_root() &&
      vmx.boundary_exits(interrupt_window_open(state) && !nmi, unblocked(state))) {
    return true;
  }
  if (nmi) return take_nmi();
  return take_interrupt();
}

bool InstructionBoundary::take_debug_exceptions() {
  using namespace vmx::pending_debug;
  vmx::CpuState& state = core_.state();
  if (state.pending_debug_exceptions == 0 || state.blocking_by_mov_ss) return false;
  const uint64_t causes = state.pending_debug_exceptions;
  state.pending_debug_exceptions = 0;
  if ((causes & (kSingleStep | kEnabledBreakpoint)) == 0) return false;
  delivery_.deliver(vmx::exception(vmx::kDb, std::nullopt, causes & ~kEnabledBreakpoint));
  return true;
}

bool InstructionBoundary::take_nmi() {
  signals_.take_nmi();
  if (!core_.vmx().in_non_root() || !core_.vmx().nmi_exits()) {
    delivery_.deliver(Event{EventType::kNmi, vmx::kNmi, std::nullopt, 0, 0});
  }
  return true;
}

bool InstructionBoundary::take_interrupt() {
  vmx::Vmx& vmx = core_.vmx();
  const vmx::CpuState& state = core_.state();
  if (state.activity != ActivityState::kActive && state.activity != ActivityState::kHlt) {
    return false;
  }
  if (vmx.virtual_interrupt_recognized() && interrupt_window_open(state)) {
    delivery_.deliver(vmx.take_virtual_interrupt());
    return true;
  }
  LocalApic& apic = core_.apic();
  if (!apic.has_interrupt()) return false;
  if (vmx.in_non_root() && vmx.pin(vmx::PinBased::kExternalInterruptExiting)) {
    if (!unblocked(state)) return false;
    vmx.external_interrupt_exits();
    return true;
  }
  if (!interrupt_window_open(state)) return false;
  delivery_.deliver(Event{EventType::kExternalInterrupt, apic.acknowledge(), std::nullopt, 0, 0});
  return true;
}

bool InstructionBoundary::is_waiting() {
  return core_.state().activity != ActivityState::kActive ||
         core_.waiting().goes_on(core_.interrupt_pending());
}

}  // namespace nestor::emu
