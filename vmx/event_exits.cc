// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which events cause VM exits ("Other Causes of VM Exits").
#include "ept/ept_walk.h"
#include "vmx/vmx.h"

namespace nestor::vmx {

void Vmx::event_exit(ExitReason reason, uint64_t qualification) {
  ExitInformation exit;
  exit.reason = reason;
  exit.qualification = qualification;
  vm_exit(exit);
}

bool Vmx::exception_exits(const Event& event) {
  if (!in_non_root_ || event.type == EventType::kSoftwareInterrupt) return false;
  bool exits = (field(Field::kExceptionBitmap) >> (event.vector & 31)) & 1;
  if (event.vector == kPf) {
    const uint64_t masked = event.error_code.value_or(0) & field(Field::kPageFaultErrorCodeMask);
    if (masked != field(Field::kPageFaultErrorCodeMatch)) exits = !exits;
  }
  if (!exits) return false;

  ExitInformation exit;
  exit.reason = ExitReason::kExceptionOrNmi;
  exit.interruption = event;
  if (event.vector == kDb) exit.qualification = event.payload;
  if (event.vector == kPf)
    exit.qualification = cpu_.state().code_64bit() ? event.payload : event.payload & 0xffffffff;
  vm_exit(exit);
  return true;
}

bool Vmx::external_interrupt_exits() {
  if (!pin(PinBased::kExternalInterruptExiting)) return false;
  ExitInformation exit;
  exit.reason = ExitReason::kExternalInterrupt;
  if (vmcs_.has(VmExitControl::kAcknowledgeInterruptOnExit)) {
    const uint8_t vector = cpu_.acknowledge_interrupt();
    if (vmcs_.has(PinBased::kProcessPostedInterrupts) &&
        vector == field(Field::kPostedInterruptNotificationVector)) {
      process_posted_interrupts();
      return false;
    }
    exit.interruption = Event{EventType::kExternalInterrupt, vector, std::nullopt, 0, 0};
  }
  vm_exit(exit);
  return true;
}

bool Vmx::nmi_exits() {
  if (!pin(PinBased::kNmiExiting)) return false;
  ExitInformation exit;
  exit.reason = ExitReason::kExceptionOrNmi;
  exit.interruption = Event{EventType::kNmi, kNmi, std::nullopt, 0, 0};
  vm_exit(exit);
  return true;
}

bool Vmx::init_exits() {
  if (!in_non_root_ || cpu_.state().activity == ActivityState::kWaitForSipi) return false;
  event_exit(ExitReason::kInitSignal, 0);
  return true;
}

bool Vmx::sipi_exits(uint8_t vector) {
  if (!in_non_root_ || cpu_.state().activity != ActivityState::kWaitForSipi) return false;
  event_exit(ExitReason::kSipi, vector);
  return true;
}

bool Vmx::triple_fault_exits() {
  if (!in_non_root_) return false;
  event_exit(ExitReason::kTripleFault, 0);
  return true;
}

bool Vmx::task_switch_exits(uint16_t selector, uint8_t source, const InstructionContext& context) {
  constexpr uint8_t kTaskGate = 3;  // its instruction length is that of the event under delivery
  if (!in_non_root_) return false;
  ExitInformation exit;
  exit.reason = ExitReason::kTaskSwitch;
  exit.qualification = uint64_t{selector} | uint64_t{source} << 30;
  if (source != kTaskGate) exit.instruction_length = context.length;
  vm_exit(exit);
  return true;
}

bool Vmx::monitor_trap_flag_exits() {
  if (!in_non_root_ || !mtf_pending_) return false;
  const ActivityState activity = cpu_.state().activity;
  if (activity == ActivityState::kShutdown || activity == ActivityState::kWaitForSipi) return false;
  event_exit(ExitReason::kMonitorTrapFlag, 0);
  return true;
}

bool Vmx::boundary_exits(bool interrupt_window_open, bool nmi_window_open) {
  if (!in_non_root_) return false;
  if (unblocking_iret_ != cpu_.state().rip) unblocking_iret_.reset();
  if (monitor_trap_flag_exits()) return true;
  const ActivityState activity = cpu_.state().activity;
  if (activity == ActivityState::kWaitForSipi) return false;

  ExitReason reason;
  if (preemption_deadline_ && cpu_.tsc_increments() >= *preemption_deadline_)
    reason = ExitReason::kPreemptionTimerExpired;
  else if (nmi_window_open && !virtual_nmi_blocking_ &&
           vmcs_.has(PrimaryProcBased::kNmiWindowExiting))
    reason = ExitReason::kNmiWindow;
  else if (interrupt_window_open && activity != ActivityState::kShutdown &&
           vmcs_.has(PrimaryProcBased::kInterruptWindowExiting))
    reason = ExitReason::kInterruptWindow;
  else
    return false;
  event_exit(reason, 0);
  return true;
}

ExitInformation Vmx::ept_violation_information(uint64_t qualification, uint64_t guest_physical,
                                               std::optional<uint64_t> linear) {
  if (linear && !cpu_.state().code_64bit()) *linear &= 0xffffffff;
  // An EPT violation drops what is cached for the address ("Operations that Invalidate Cached
  // Mappings"), so that software need not invalidate after it has added permissions.
  Invalidation invalidation;
  invalidation.kind = Invalidation::Kind::kEptViolation;
  invalidation.vpid = vpid();
  invalidation.pcid = cpu_.state().pcid();
  invalidation.eptp = eptp().value_or(0);
  invalidation.guest_physical = guest_physical;
  invalidation.linear = linear.value_or(0);
  invalidation.linear_translated = (qualification & ept::EptQualification::kLinearTranslated) != 0;
  cpu_.invalidate(invalidation);
  ExitInformation exit;
  exit.reason = ExitReason::kEptViolation;
  exit.qualification = qualification;
  exit.guest_linear = linear;
  exit.guest_physical = guest_physical;
  return exit;
}

void Vmx::ept_violation(uint64_t qualification, uint64_t guest_physical,
                        std::optional<uint64_t> linear, uint8_t instruction_length) {
  ExitInformation exit = ept_violation_information(qualification, guest_physical, linear);
  exit.instruction_length = instruction_length;
  vm_exit(exit);
}

void Vmx::sub_page_event(uint64_t qualification, uint64_t guest_physical, uint64_t linear,
                         uint8_t instruction_length) {
  ExitInformation exit;
  exit.instruction_length = instruction_length;
  exit.reason = ExitReason::kSppRelatedEvent;
  exit.qualification = qualification;
  exit.guest_linear = cpu_.state().code_64bit() ? linear : linear & 0xffffffff;
  exit.guest_physical = guest_physical;
  vm_exit(exit);
}

bool Vmx::page_modification_log_is_full() const {
  constexpr uint64_t kEntries = 512;
  return field(Field::kPmlIndex) >= kEntries;
}

void Vmx::log_page_modification(uint64_t guest_physical) {
  const uint64_t page = guest_physical & ~0xfffull, index = field(Field::kPmlIndex);
  cpu_.write_physical({field(Field::kPmlAddress) + index * sizeof page},
                      std::span(reinterpret_cast<const uint8_t*>(&page), sizeof page));
  vmcs_.write(Field::kPmlIndex, (index - 1) & 0xffff);
  sink_.page_modification({page, static_cast<uint16_t>(index)});
}

void Vmx::page_modification_log_full() { event_exit(ExitReason::kPmlFull, 0); }

void Vmx::ept_misconfiguration(uint64_t guest_physical, uint8_t instruction_length) {
  ExitInformation exit;
  exit.instruction_length = instruction_length;
  exit.reason = ExitReason::kEptMisconfiguration;
  exit.guest_physical = guest_physical;
  vm_exit(exit);
}

}  // namespace nestor::vmx
