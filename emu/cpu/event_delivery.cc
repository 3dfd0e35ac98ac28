// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/event_delivery.h"

#include "emu/cpu/instruction_step.h"
#include "vmx/exceptions.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

using vmx::Event;
using vmx::EventType;

namespace {

bool is_interrupt(const Event& event) {
  return event.type == EventType::kExternalInterrupt || event.type == EventType::kNmi;
}

bool is_page_fault(const Event& event) {
  return event.type == EventType::kHardwareException && event.vector == vmx::kPf;
}

}  // namespace

void EventDelivery::deliver(const Event& event, EventOrigin origin) {
  vmx::Vmx& vmx = core_.vmx();
  const bool trapping = vmx.in_non_root() && vmx.monitor_trap_flag();
  core_.waiting().end();
  deliver_or_exit(event, origin);
  vmx.set_vectoring(std::nullopt);
  if (trapping && vmx.in_non_root()) vmx.set_monitor_trap_flag_pending();
}

// Through the IDT, with what goes wrong on the way; or to a VM exit.
void EventDelivery::deliver_or_exit(Event event, EventOrigin origin) {
  vmx::Vmx& vmx = core_.vmx();
  std::optional<Event> met, page_fault;
  for (;;) {
    if (is_page_fault(event)) page_fault = event;
    if (vmx.in_non_root()) {
      if (origin == EventOrigin::kProcessor && !is_interrupt(event) && vmx.exception_exits(event)) {
        return;
      }
      vmx.set_vectoring(event, origin == EventOrigin::kVmEntry);
    }
    report(event, origin, met);
    const uint64_t from = linear_rip(core_.state());
    const Delivery delivery = deliver_once(core_, event, origin);
    if (std::holds_alternative<Delivered>(delivery)) {
      record_event(core_, from);
      return;
    }
    if (const auto* exit = std::get_if<EptExit>(&delivery)) {
      // No #VE occurs during the delivery of an event.
      (void)take_ept_exit(core_, core_.decoder(), *exit);
      return;
    }
    // A fault that causes a VM exit does so before it could become a double fault.
    const Event& fault = std::get<Event>(delivery);
    if (vmx.in_non_root() && vmx.exception_exits(fault)) return;
    update_event_registers(core_.state(), fault);
    const auto next = combine(event, fault);
    if (std::holds_alternative<Shutdown>(next)) {
      triple_fault(fault, is_page_fault(fault) ? fault : page_fault);
      return;
    }
    met = fault;
    event = std::get<Event>(next);
    origin = EventOrigin::kProcessor;
  }
}

void EventDelivery::settle(const Outcome& outcome) {
  if (const auto event = emu::settle(core_, core_.decoder(), outcome)) deliver(*event);
}

// Merges with what blocking by MOV SS held back, or is held back by it. INIT, an MTF VM exit, or
// one of APIC virtualization, comes first and leaves it pending.
void EventDelivery::single_step_trap() {
  using namespace vmx::pending_debug;
  const vmx::Vmx& vmx = core_.vmx();
  uint64_t& pending = core_.state().pending_debug_exceptions;
  const bool exits_first =
      vmx.in_non_root() && (vmx.monitor_trap_flag() || vmx.apic_exit_pending());
  if (exits_first || signals_.init_is_due() || core_.state().blocking_by_mov_ss) {
    pending |= kSingleStep;
    return;
  }
  const uint64_t held_back = pending & ~kEnabledBreakpoint;
  pending = 0;
  deliver(vmx::exception(vmx::kDb, std::nullopt, kSingleStep | held_back));
}

void EventDelivery::triple_fault(const Event& met, const std::optional<Event>& page_fault) {
  const vmx::CpuState& state = core_.state();
  const uint64_t rip = state.rip;
  if (auto* events = core_.around().events) {
    TripleFaultEvent event{
        rip, core_.in_l2(), met, core_.guest_cr3(), state.idtr.base, state.gdtr.base};
    if (page_fault) {
      event.page_fault = core_.mmu().explain_page_fault(
          page_fault->payload, page_fault->error_code.value_or(0), state.rflags);
    }
    events->triple_fault(event);
  }
  if (!core_.vmx().in_non_root() || !core_.vmx().triple_fault_exits()) core_.shut_down(rip);
}

void EventDelivery::profile(const Event& event) {
  profile::Profiler* const profiler = core_.profiler();
  if (profiler == nullptr) return;
  const vmx::CpuState& state = core_.state();
  const bool exception = event.type == EventType::kHardwareException;
  std::string_view mnemonic = exception ? vmx::exception_info(event.vector).mnemonic : "";
  if (event.type == EventType::kNmi) mnemonic = "NMI";
  profiler->deliver({event.vector, exception, mnemonic}, linear_rip(state), state.gpr[vmx::kRsp]);
}

void EventDelivery::report(const Event& event, EventOrigin origin,
                           const std::optional<Event>& met) {
  const bool interrupt = is_interrupt(event);
  profile(event);
  if (timing::Core* core = core_.timing()) {
    core->serialize_execution();
    core_.around().prices.charge_core(core->price(interrupt ? timing::SystemCost::kInterrupt
                                                  : is_page_fault(event)
                                                      ? timing::SystemCost::kPageFault
                                                      : timing::SystemCost::kException));
  } else {
    core_.around().prices.charge(interrupt ? &PriceList::interrupt : &PriceList::exception);
  }
  if (!interrupt) core_.around().turns.exception_delivered();
  MachineEventSink* const events = core_.around().events;
  if (events == nullptr) return;
  const uint64_t rip = core_.state().rip;
  if (interrupt) {
    events->interrupt({event.vector, event.type == EventType::kNmi, rip, core_.in_l2()});
    return;
  }
  ExceptionEvent exception;
  exception.vector = event.vector;
  exception.software = event.type != EventType::kHardwareException;
  exception.error_code = event.error_code;
  exception.rip = rip;
  // VM entry injects a page fault without an address: CR2 is as L1 has left it.
  if (is_page_fault(event))
    exception.cr2 = origin == EventOrigin::kVmEntry ? core_.state().cr2 : event.payload;
  exception.non_root = core_.in_l2();
  exception.why = event.why;
  exception.met = met;
  exception.msr = event.msr;
  events->exception(exception);
}

}  // namespace nestor::emu
