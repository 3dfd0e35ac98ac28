// SPDX-License-Identifier: GPL-2.0-or-later
//
// VM exits to L0: what it does itself, and what it hands to L1.
#include <utility>

#include "emu/cpu/delivery.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/task_switch.h"
#include "emu/l0/hypervisor.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {
namespace {

using vmx::Event;
using vmx::ExitReason;
using vmx::Field;

}  // namespace

// --- VM exits of L1

void Hypervisor::handle_l1() {
  const auto reason = vmx::basic_reason(static_cast<uint32_t>(vmcs()[Field::kExitReason]));
  switch (reason) {
    case ExitReason::kTripleFault:
      hardware().shut_down(guest().rip);
      return;
    case ExitReason::kInitSignal:
      if (blocks_init()) {
        init_held_ = true;
      } else {
        release_processor();
      }
      return;
    case ExitReason::kExceptionOrNmi:
      fill_shadow_paging();
      return;
    case ExitReason::kTaskSwitch:
      spend(HandlerStep::kInstruction);
      emulate_task_switch();
      return;
    case ExitReason::kVmread:
    case ExitReason::kVmwrite:
      ++counters_.vmcs_accesses;
      break;
    default:
      break;
  }
  const bool had_current = nested().current_vmcs_pointer().has_value();
  if (config_.vmcs_shadowing) fetch_vmcs12();
  emulate_instruction();
  spend_on_instruction(reason, had_current);
  if (config_.vmcs_shadowing) publish_vmcs12();
}

void Hypervisor::emulate_instruction() {
  const auto [instruction, fault] = fetch_instruction(core_, decoder_);
  if (!instruction) {
    settle(fault ? to_outcome(*fault) : Outcome(vmx::exception(vmx::kUd)));
    return;
  }
  const Executed executed = execute(core_, *instruction);
  if (!executed.at_boundary) {
    settle(executed.outcome);
    return;
  }
  if (executed.single_step) {
    guest().pending_debug_exceptions |= vmx::pending_debug::kSingleStep;
  }
  if (nested().monitor_trap_flag()) {
    nested().set_monitor_trap_flag_pending();
    (void)nested().monitor_trap_flag_exits();
  }
}

void Hypervisor::settle(const Outcome& outcome) {
  if (const auto event = emu::settle(core_, decoder_, outcome)) raise(*event);
}

void Hypervisor::emulate_task_switch() {
  const uint64_t qualification = vmcs()[Field::kExitQualification];
  const auto vectoring = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringInformation]);
  const bool valid = vmx::interruption::is_valid(vectoring);
  TaskSwitch request;
  request.selector = static_cast<uint16_t>(qualification);
  request.source = static_cast<TaskSwitchSource>(qualification >> 30 & 3);
  const bool software = valid && vmx::is_software(vmx::interruption::type_of(vectoring));
  if (request.source != TaskSwitchSource::kGateInIdt || software) {
    request.instruction_length = static_cast<uint8_t>(vmcs()[Field::kVmExitInstructionLength]);
  }
  request.ext = valid && !software;
  if (valid && vmx::interruption::has_error_code(vectoring)) {
    request.error_code = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringErrorCode]);
  }
  // The VM exit has saved what the old TSS is to hold.
  request.saved_rf = (guest().rflags & vmx::rflags::kRf) != 0;
  settle(switch_task(core_, request));
}

// --- VM exits of L2

void Hypervisor::handle_l2() {
  const auto reason = vmx::basic_reason(static_cast<uint32_t>(vmcs()[Field::kExitReason]));
  switch (reason) {
    case ExitReason::kEptViolation:
      if (config_.mode == L0Mode::kNestedEpt && fill_ept02()) return;
      break;
    case ExitReason::kExceptionOrNmi:
      if (!uses_ept() && is_page_fault()) {
        fill_shadow_paging();
        return;
      }
      break;
    case ExitReason::kRdmsr:
    case ExitReason::kWrmsr:
      spend(step_for(reason));
      emulate_instruction();
      after_l2_emulation();
      return;
    case ExitReason::kControlRegisterAccess:
    case ExitReason::kInvlpg:
    case ExitReason::kInvpcid:
      if (!uses_ept()) {
        spend(step_for(reason));
        emulate_instruction();
        after_l2_emulation();
        return;
      }
      break;
    default:
      break;
  }
  reflect();
}

// L1 may have got the VM exit after all.
void Hypervisor::after_l2_emulation() {
  if (nested().in_non_root()) return;
  ++counters_.reflected;
  spend_on_reflection();
  if (config_.vmcs_shadowing) publish_vmcs12();
}

void Hypervisor::reflect() {
  ++counters_.reflected;
  if (!uses_ept()) {
    // VMCS02 has what the processor runs L2 with; L1 is to see L2's own.
    const vmx::CpuState& g = guest();
    vmcs().write(Field::kGuestCr0, g.cr0);
    vmcs().write(Field::kGuestCr3, g.cr3);
    vmcs().write(Field::kGuestCr4, g.cr4);
    vmcs().write(Field::kGuestIa32Efer, g.efer);
  }
  nested().reflect_exit(vmcs());
  spend_on_reflection();
  if (config_.vmcs_shadowing) publish_vmcs12();
}

bool Hypervisor::is_page_fault() {
  const auto information = static_cast<uint32_t>(vmcs()[Field::kVmExitInterruptionInformation]);
  return vmx::interruption::type_of(information) == vmx::EventType::kHardwareException &&
         vmx::interruption::vector_of(information) == vmx::kPf;
}

// What the VM exit interrupted on its way through the IDT, if anything.
std::optional<Event> Hypervisor::interrupted_event() {
  const auto information = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringInformation]);
  return vmx::decode_injection(information & ~vmx::interruption::kNmiUnblocking,
                               static_cast<uint32_t>(vmcs()[Field::kIdtVectoringErrorCode]),
                               static_cast<uint32_t>(vmcs()[Field::kVmExitInstructionLength]))
      .event;
}

// The guest goes on where the VM exit was: an event whose delivery it interrupted is delivered
// again, and an IRET that had unblocked NMIs blocks them again.
void Hypervisor::resume_interrupted(bool unblocked_by_iret) {
  if (const auto event = interrupted_event()) {
    // An NMI blocks others from its delivery on, and none can be injected while they are blocked.
    if (event->type == vmx::EventType::kNmi) {
      guest().blocking_by_nmi = false;
      if (level_ == 2) nested().set_virtual_nmi_blocking(false);
    }
    // INT n pushes RF = 0 as it completes; the fault that came between has saved 1.
    if (vmx::is_software(event->type)) guest().rflags &= ~uint64_t{vmx::rflags::kRf};
    inject(*event);
    return;
  }
  if (!unblocked_by_iret) return;
  if (level_ == 2 && nested().pin(vmx::PinBased::kVirtualNmis)) {
    nested().set_virtual_nmi_blocking(true);
  } else {
    guest().blocking_by_nmi = true;
  }
}

void Hypervisor::inject(const Event& event) {
  spend(HandlerStep::kInjection);
  Vmcs& v = vmcs();
  v.write(Field::kVmEntryInterruptionInformation,
          vmx::interruption_information(event, guest().protected_mode()));
  v.write(Field::kVmEntryExceptionErrorCode, event.error_code.value_or(0));
  v.write(Field::kVmEntryInstructionLength, event.instruction_length);
  hardware().explain_injection(event.why);
}

void Hypervisor::raise(const Event& first) {
  Event event = first;
  const std::optional<Event> interrupted = interrupted_event();
  if (level_ == 2) {
    nested().set_vectoring(interrupted);
    const bool exits = nested().exception_exits(event);
    nested().set_vectoring(std::nullopt);
    if (exits) {
      after_l2_emulation();
      return;
    }
  }
  vmx::CpuState& g = guest();
  update_event_registers(g, event);
  if (interrupted) {
    const auto next = combine(*interrupted, event);
    if (std::holds_alternative<Shutdown>(next)) {
      if (level_ == 1) {
        hardware().shut_down(guest().rip);
      } else if (nested().triple_fault_exits()) {
        after_l2_emulation();
      }
      return;
    }
    event = std::get<Event>(next);
    // A double fault in the place of both.
    if (level_ == 2 && event.vector != first.vector && nested().exception_exits(event)) {
      after_l2_emulation();
      return;
    }
  }
  // VM entry pushes RFLAGS as they are.
  if (vmx::is_fault(event)) g.rflags |= vmx::rflags::kRf;
  inject(event);
}

}  // namespace nestor::emu
