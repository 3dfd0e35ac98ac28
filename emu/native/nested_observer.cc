// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/nested_observer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmx/exit_reasons.h"

namespace nestor::emu::native {
namespace {

using vmx::Field;

/// The instructions that report how they ended in CF and ZF ("Conventions" of the VMX instruction
/// reference).
struct VmxInstruction {
  Operation operation;
  std::string_view name;
};
constexpr std::array kInstructions{
    VmxInstruction{Operation::kVmcall, "VMCALL"},
    VmxInstruction{Operation::kVmclear, "VMCLEAR"},
    VmxInstruction{Operation::kVmlaunch, "VMLAUNCH"},
    VmxInstruction{Operation::kVmptrld, "VMPTRLD"},
    VmxInstruction{Operation::kVmptrst, "VMPTRST"},
    VmxInstruction{Operation::kVmread, "VMREAD"},
    VmxInstruction{Operation::kVmresume, "VMRESUME"},
    VmxInstruction{Operation::kVmwrite, "VMWRITE"},
    VmxInstruction{Operation::kVmxoff, "VMXOFF"},
    VmxInstruction{Operation::kVmxon, "VMXON"},
    VmxInstruction{Operation::kInvept, "INVEPT"},
    VmxInstruction{Operation::kInvvpid, "INVVPID"},
};

}  // namespace

NestedObserver::Plan NestedObserver::before(const Place& place,
                                            std::span<const std::uint8_t> code) {
  if (in_guest_) {
    // An instruction of L2 may have the same linear address. It is stepped over, as a breakpoint
    // stops before it.
    if (place.rip == host_rip_) return {true, std::nullopt};
    return {false, host_rip_};
  }
  // An interrupted KVM_RUN may leave an instruction unexecuted; it is looked at again.
  pending_.reset();
  const auto instruction = decoder_.decode(code, place.mode);
  if (!instruction) return {true, std::nullopt};
  // A step ends after each iteration, of which there may be a million.
  if (instruction->repeated) return {false, place.rip + instruction->length};
  const auto found =
      std::ranges::find(kInstructions, instruction->operation, &VmxInstruction::operation);
  if (found == kInstructions.end()) return {true, std::nullopt};
  const bool launch = instruction->operation == Operation::kVmlaunch;
  const bool enters = launch || instruction->operation == Operation::kVmresume;
  pending_ = Pending{found->name, place.rip, instruction->length, enters, launch};
  if (!enters) return {true, std::nullopt};
  pending_->state = read_state_();
  if (!pending_->state.vmcs) return {true, std::nullopt};
  host_rip_ = pending_->state.vmcs->read(Field::kHostRip);
  return {true, host_rip_};
}

void NestedObserver::after(const Place& place) {
  if (in_guest_) {
    const NestedState state = read_state_();
    if (!state.guest_mode) report_exit(place, state);
    return;
  }
  if (!pending_) return;
  const bool failed = (place.rflags & (vmx::rflags::kCf | vmx::rflags::kZf)) != 0;
  const bool passed = place.rip == pending_->rip + pending_->length;
  if ((passed && failed) || failed_unnoticed(place)) {
    // What has been set by an earlier instruction cannot be seen here: a VMX instruction that
    // succeeds clears both flags, and one that faults does not pass.
    vmx::VmInstructionErrorEvent event{.instruction = pending_->name, .rip = pending_->rip};
    const NestedState state = read_state_();
    const bool valid = (place.rflags & vmx::rflags::kZf) != 0 && state.vmcs;
    if (valid) {
      event.error = static_cast<std::uint32_t>(state.vmcs->read(Field::kVmInstructionError));
    }
    if (state.vmcs) {
      event.data = &*state.vmcs;
      event.vmcs = state.vmcs_address;
    }
    sink_.vm_instruction_error(event);
  } else if (pending_->enters && pending_->state.vmcs && place.rip != pending_->rip) {
    const NestedState state = read_state_();
    if (state.guest_mode) {
      report_entry();
      in_guest_ = true;
    } else if (place.rip == host_rip_ && state.vmcs) {
      // Both, while nobody looked; a failed VM entry is reported by its VM exit alone.
      if ((state.vmcs->read(Field::kExitReason) & vmx::kExitReasonEntryFailure) == 0) {
        report_entry();
      }
      report_exit(place, state);
    }
  }
  pending_.reset();
}

// Where KVM leaves a check of a VM entry to the processor, the failure does not end the step: the
// instruction after it, which may be a short jump, is executed as well. L1 is at neither place
// where VM entries end then, nor in an exception handler far away, and its flags are still those of
// VMfail, unless that instruction has set others.
bool NestedObserver::failed_unnoticed(const Place& place) {
  using namespace vmx::rflags;
  constexpr std::uint64_t kStatus = kCf | kPf | kAf | kZf | kSf | kOf;
  constexpr std::uint64_t kReach = 128 + 2 * Instruction::kMaxLength;
  const std::uint64_t status = place.rflags & kStatus;
  return pending_->enters && place.rip != pending_->rip && place.rip != host_rip_ &&
         place.rip - (pending_->rip - kReach) <= 2 * kReach && (status == kCf || status == kZf) &&
         !read_state_().guest_mode;
}

void NestedObserver::report_entry() {
  const vmx::Vmcs& vmcs = *pending_->state.vmcs;
  vmx::VmEntryEvent event;
  event.launch = pending_->launch;
  event.vmcs = pending_->state.vmcs_address;
  event.guest_rip = vmcs[Field::kGuestRip];
  event.guest_cr3 = vmcs[Field::kGuestCr3];
  if (vmcs.has(vmx::SecondaryProcBased::kEnableEpt)) event.eptp = vmcs[Field::kEptPointer];
  if (vmcs.has(vmx::SecondaryProcBased::kEnableVpid)) {
    event.vpid = static_cast<std::uint16_t>(vmcs[Field::kVirtualProcessorIdentifier]);
  }
  event.interruption_information =
      static_cast<std::uint32_t>(vmcs[Field::kVmEntryInterruptionInformation]);
  sink_.vm_entry(event);
}

void NestedObserver::report_exit(const Place& place, const NestedState& state) {
  in_guest_ = false;
  if (!state.vmcs) {
    missed_ = true;
    return;
  }
  const bool late = place.rip != host_rip_;
  missed_ = missed_ || late;
  const vmx::Vmcs& vmcs = *state.vmcs;
  vmx::VmExitEvent event = vmx::exit_event_of(vmcs);
  event.vmcs = state.vmcs_address;
  // L1 has executed nothing yet: all but RSP are still L2's.
  vmx::CpuState left;
  if (!late) {
    left.gpr = place.gpr;
    left.gpr[vmx::kRsp] = vmcs[Field::kGuestRsp];
    left.rip = event.guest_rip;
    event.state = &left;
  }
  sink_.vm_exit(event);
}

}  // namespace nestor::emu::native
