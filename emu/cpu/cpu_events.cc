// SPDX-License-Identifier: GPL-2.0-or-later
//
// What comes between two instructions, or out of one, and where it goes: through the IDT, or to a
// VM exit.
#include <cstdio>
#include <string>

#include "emu/cpu/cpu.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

using vmx::Event;
using vmx::EventType;
using vmx::pending_debug::kEnabledBreakpoint;
using vmx::pending_debug::kSingleStep;

bool Cpu::take_event() {
  if (injected_) {
    const Event event = *injected_;
    injected_.reset();
    deliver(event, EventOrigin::kVmEntry);
    return true;
  }
  if (vmx_.apic_exits()) return true;
  if (take_init_or_start_up()) return true;
  if (vmx_.in_non_root() && vmx_.monitor_trap_flag_exits()) return true;
  if (state_.pending_debug_exceptions != 0 && !state_.blocking_by_mov_ss) {
    const uint64_t causes = state_.pending_debug_exceptions;
    state_.pending_debug_exceptions = 0;
    if ((causes & (kSingleStep | kEnabledBreakpoint)) != 0) {
      deliver(vmx::exception(vmx::kDb, std::nullopt, causes & ~kEnabledBreakpoint));
      return true;
    }
  }
  // STI blocks NMIs as well on many processors; the NMI window does not know of it.
  const bool nmi = nmi_pending_ && nmi_window_open() && !state_.blocking_by_sti;
  if (vmx_.in_non_root() &&
      vmx_.boundary_exits(interrupt_window_open() && !nmi, nmi_window_open())) {
    return true;
  }
  if (nmi && state_.activity != vmx::ActivityState::kWaitForSipi) {
    nmi_pending_ = false;
    if (!vmx_.in_non_root() || !vmx_.nmi_exits()) {
      deliver(Event{EventType::kNmi, vmx::kNmi, std::nullopt, 0, 0});
    }
    return true;
  }
  const bool wakes =
      state_.activity == vmx::ActivityState::kActive || state_.activity == vmx::ActivityState::kHlt;
  if (wakes && vmx_.virtual_interrupt_recognized() && interrupt_window_open()) {
    deliver(vmx_.take_virtual_interrupt());
    return true;
  }
  if (wakes && apic_.has_interrupt()) {
    if (vmx_.in_non_root() && vmx_.pin(vmx::PinBased::kExternalInterruptExiting)) {
      if (!state_.blocking_by_sti && !state_.blocking_by_mov_ss) {
        vmx_.external_interrupt_exits();
        return true;
      }
    } else if (interrupt_window_open()) {
      deliver(Event{EventType::kExternalInterrupt, apic_.acknowledge(), std::nullopt, 0, 0});
      return true;
    }
  }
  return false;
}

// Merges with what the shadow of MOV SS held back. An MTF VM exit, or one of APIC virtualization,
// comes first and leaves it pending.
void Cpu::single_step_trap() {
  if (vmx_.in_non_root() && (vmx_.monitor_trap_flag() || vmx_.apic_exit_pending())) {
    state_.pending_debug_exceptions |= kSingleStep;
    return;
  }
  const uint64_t held_back = state_.pending_debug_exceptions & ~kEnabledBreakpoint;
  state_.pending_debug_exceptions = 0;
  deliver(vmx::exception(vmx::kDb, std::nullopt, kSingleStep | held_back));
}

void Cpu::settle(const Outcome& outcome) {
  if (const auto* event = std::get_if<Event>(&outcome)) deliver(*event);
  if (const auto* exit = std::get_if<EptExit>(&outcome)) {
    if (const auto event = ept_exit(*exit)) deliver(*event);
  }
}

std::optional<Event> Cpu::ept_exit(const EptExit& exit) {
  if (exit.apic_access) {
    vmx_.apic_access(exit.apic_offset, *exit.apic_access, instruction_length());
  } else if (exit.log_full) {
    vmx_.page_modification_log_full();
  } else if (exit.misconfiguration) {
    vmx_.ept_misconfiguration(exit.guest_physical);
  } else if (exit.sub_page_event) {
    vmx_.sub_page_event(exit.qualification, exit.guest_physical, exit.guest_linear.value_or(0));
  } else {
    if (exit.convertible) {
      if (const auto event = vmx_.virtualization_exception(exit.qualification, exit.guest_physical,
                                                           exit.guest_linear)) {
        return event;
      }
    }
    vmx_.ept_violation(exit.qualification, exit.guest_physical, exit.guest_linear);
  }
  return std::nullopt;
}

void Cpu::report(const Event& event) {
  const bool interrupt =
      event.type == EventType::kExternalInterrupt || event.type == EventType::kNmi;
  clock_.charge(interrupt ? cost_.interrupt : cost_.exception);
  if (events_ == nullptr) return;
  if (interrupt) {
    events_->interrupt({event.vector, event.type == EventType::kNmi, state_.rip, in_l2()});
    return;
  }
  ExceptionEvent exception;
  exception.vector = event.vector;
  exception.software = event.type != EventType::kHardwareException;
  exception.error_code = event.error_code;
  exception.rip = state_.rip;
  exception.cr2 = event.vector == vmx::kPf ? event.payload : 0;
  exception.non_root = in_l2();
  events_->exception(exception);
}

void Cpu::deliver(const Event& event, EventOrigin origin) {
  const bool trapping = vmx_.in_non_root() && vmx_.monitor_trap_flag();
  in_mwait_ = false;
  deliver_or_exit(event, origin);
  vmx_.set_vectoring(std::nullopt);
  if (trapping && vmx_.in_non_root()) vmx_.set_monitor_trap_flag_pending();
}

// Through the IDT, with what goes wrong on the way; or to a VM exit.
void Cpu::deliver_or_exit(Event event, EventOrigin origin) {
  for (;;) {
    const bool interrupt =
        event.type == EventType::kExternalInterrupt || event.type == EventType::kNmi;
    if (vmx_.in_non_root()) {
      if (origin == EventOrigin::kProcessor && !interrupt && vmx_.exception_exits(event)) return;
      vmx_.set_vectoring(event, origin == EventOrigin::kVmEntry);
    }
    report(event);
    const Delivery delivery = deliver_once(*this, event, origin);
    if (std::holds_alternative<Delivered>(delivery)) return;
    if (const auto* exit = std::get_if<EptExit>(&delivery)) {
      (void)ept_exit(*exit);  // no #VE occurs during the delivery of an event
      return;
    }
    // A fault that causes a VM exit does so before it could become a double fault.
    const Event& fault = std::get<Event>(delivery);
    if (vmx_.in_non_root() && vmx_.exception_exits(fault)) return;
    const auto next = combine(event, fault);
    if (std::holds_alternative<Shutdown>(next)) {
      triple_fault();
      return;
    }
    event = std::get<Event>(next);
    origin = EventOrigin::kProcessor;
  }
}

void Cpu::triple_fault() {
  if (events_ != nullptr) events_->triple_fault(state_.rip, in_l2());
  if (!vmx_.in_non_root() || !vmx_.triple_fault_exits()) shut_down(state_.rip);
}

void Cpu::shut_down(uint64_t rip) {
  end_run(RunEnd::Kind::kShutdown, 0);
  char where[64];
  std::snprintf(where, sizeof where, "triple fault at RIP %#llx",
                static_cast<unsigned long long>(rip));
  turns_.end->detail = where;
  if (config_.count > 1) turns_.end->detail += " of processor " + std::to_string(number_);
}

}  // namespace nestor::emu
