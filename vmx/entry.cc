// SPDX-License-Identifier: GPL-2.0-or-later
//
// VM entries ("VM Entries"): the checks in their order, the guest state, the MSR-load area, and
// what happens at the first instruction boundary of the guest.
#include "vmx/checks/entry_checks.h"
#include "vmx/guest_area.h"
#include "vmx/guest_state_formats.h"
#include "vmx/msr_lists.h"
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {

class PhysicalReader final : public MemoryReader {
 public:
  explicit PhysicalReader(Processor& cpu) : cpu_(cpu) {}
  bool read(ept::PhysicalAddress address, std::span<uint8_t> out) const override {
    return cpu_.read_physical(address, out);
  }

 private:
  Processor& cpu_;
};

// Reports every check of the group that fails, and returns the first.
std::optional<FailedCheck> failure_in(CheckGroup group, const CheckContext& context,
                                      EventSink& sink) {
  std::optional<FailedCheck> first;
  if (all_pass(group, context)) return first;
  for (const CheckTable& table : check_tables(group)) {
    for (const EntryCheck& check : table.checks) {
      if (check.passes(context)) continue;
      const FailedCheck failure = failure_of(check, group, context);
      sink.check_failed(failure);
      if (!first) first = failure;
    }
  }
  return first;
}

constexpr std::string_view kPdpteSection = "Checks on Guest Page-Directory-Pointer-Table Entries";

}  // namespace

// Would VM entry accept it as EPT pointer?
bool Vmx::valid_eptp(uint64_t eptp) const {
  Vmcs probe;
  probe.write(Field::kPrimaryProcBasedControls, mask(PrimaryProcBased::kActivateSecondaryControls));
  probe.write(Field::kSecondaryProcBasedControls, mask(SecondaryProcBased::kEnableEpt));
  probe.write(Field::kEptPointer, eptp);
  const CheckContext context{.vmcs = probe,
                             .capabilities = capabilities_,
                             .memory = nullptr,
                             .current_vmcs = std::nullopt};
  for (const CheckTable& table : check_tables(CheckGroup::kControls))
    for (const EntryCheck& check : table.checks)
      if (check.field == Field::kEptPointer && !check.passes(context)) return false;
  return true;
}

Outcome Vmx::enter_guest() {
  const bool launch = vmcs_.launch_state == Vmcs::LaunchState::kClear;
  return vm_entry(launch ? "VMLAUNCH" : "VMRESUME", launch);
}

Outcome Vmx::vm_entry(std::string_view instruction, bool launch) {
  // "Basic VM-Entry Checks".
  if (!has_current_vmcs() || vmcs_.shadow) return vm_fail_invalid(instruction);
  const CpuState& s = cpu_.state();
  const bool launched = vmcs_.launch_state == Vmcs::LaunchState::kLaunched;
  if (s.blocking_by_mov_ss) return vm_fail(instruction, InstructionError::kEntryBlockedByMovSs);
  if (launch && launched) return vm_fail(instruction, InstructionError::kVmlaunchNonClear);
  if (!launch && !launched) return vm_fail(instruction, InstructionError::kVmresumeNonLaunched);

  const PhysicalReader memory(cpu_);
  const CheckContext context{.vmcs = vmcs_,
                             .capabilities = capabilities_,
                             .memory = &memory,
                             .current_vmcs = ept::PhysicalAddress{current_vmcs_},
                             .long_mode = s.long_mode_active()};
  if (failure_in(CheckGroup::kControls, context, sink_))
    return vm_fail(instruction, InstructionError::kEntryInvalidControls);
  if (failure_in(CheckGroup::kHostState, context, sink_))
    return vm_fail(instruction, InstructionError::kEntryInvalidHostState);
  if (const auto failure = failure_in(CheckGroup::kGuestState, context, sink_))
    return fail_entry(ExitReason::kEntryFailureGuestState, failure->qualification);
  if (!load_guest_pdptes()) {
    sink_.check_failed({"guest-pdptes", info_of(Field::kGuestCr3).name, field(Field::kGuestCr3),
                        "must refer to page-directory-pointer-table entries without reserved bits",
                        kPdpteSection});
    return fail_entry(ExitReason::kEntryFailureGuestState, kEntryFailurePdpte);
  }
  load_guest_state();

  const MsrList msrs{{field(Field::kVmEntryMsrLoadAddress)},
                     static_cast<uint32_t>(field(Field::kVmEntryMsrLoadCount)),
                     capabilities_.msr_list_size};
  if (const auto failure = load_msrs(cpu_, msrs)) {
    sink_.check_failed(failed_check("vm-entry-msr-load", "VM-entry MSR-load area", "Loading MSRs",
                                    msrs, *failure));
    return fail_entry(ExitReason::kEntryFailureMsrLoading, failure->entry);
  }
  start_guest(launch,
              decode_injection(static_cast<uint32_t>(field(Field::kVmEntryInterruptionInformation)),
                               static_cast<uint32_t>(field(Field::kVmEntryExceptionErrorCode)),
                               static_cast<uint32_t>(field(Field::kVmEntryInstructionLength))));
  return Transferred{};
}

// "Loading Page-Directory-Pointer-Table Entries".
bool Vmx::load_guest_pdptes() {
  const bool pae_paging = (field(Field::kGuestCr0) & cr0::kPg) &&
                          (field(Field::kGuestCr4) & cr4::kPae) &&
                          !vmcs_.has(VmEntryControl::kIa32eModeGuest);
  if (!pae_paging) return true;
  if (!vmcs_.has(SecondaryProcBased::kEnableEpt)) return cpu_.load_pdptes(field(Field::kGuestCr3));
  cpu_.state().pdptes = {field(Field::kGuestPdpte0), field(Field::kGuestPdpte1),
                         field(Field::kGuestPdpte2), field(Field::kGuestPdpte3)};
  return true;
}

// "Loading Guest Control Registers, Debug Registers, and MSRs".
void Vmx::load_guest_state() {
  CpuState& s = cpu_.state();
  s.cr0 = (s.cr0 & kCr0NotModified) | (field(Field::kGuestCr0) & ~kCr0NotModified);
  s.cr3 = field(Field::kGuestCr3);
  s.cr4 = field(Field::kGuestCr4);
  if (vmcs_.has(VmEntryControl::kLoadDebugControls)) {
    s.dr7 = (field(Field::kGuestDr7) & ~kDr7Fixed0) | kDr7Fixed1;
    s.debugctl = field(Field::kGuestIa32Debugctl);
  }
  s.sysenter_cs = field(Field::kGuestIa32SysenterCs);
  s.sysenter_esp = field(Field::kGuestIa32SysenterEsp);
  s.sysenter_eip = field(Field::kGuestIa32SysenterEip);

  if (vmcs_.has(VmEntryControl::kLoadEfer)) {
    s.efer = field(Field::kGuestIa32Efer);
  } else {
    const bool long_mode = vmcs_.has(VmEntryControl::kIa32eModeGuest);
    const uint64_t modified = efer::kLma | ((s.cr0 & cr0::kPg) ? efer::kLme : 0);
    s.efer = (s.efer & ~modified) | (long_mode ? modified : 0);
  }
  if (vmcs_.has(VmEntryControl::kLoadPerfGlobalCtrl))
    s.perf_global_ctrl = field(Field::kGuestIa32PerfGlobalCtrl);
  if (vmcs_.has(VmEntryControl::kLoadPat)) s.pat = field(Field::kGuestIa32Pat);
  if (vmcs_.has(VmEntryControl::kLoadPkrs))
    s.pkrs = static_cast<uint32_t>(field(Field::kGuestIa32Pkrs));

  load_guest_segments();
  s.rip = field(Field::kGuestRip);
  s.gpr[kRsp] = field(Field::kGuestRsp);
  s.rflags = field(Field::kGuestRflags);
}

// "Loading Guest Segment Registers and Descriptor-Table Registers". What the SDM leaves undefined
// in an unusable segment is kept as the field has it.
void Vmx::load_guest_segments() {
  CpuState& s = cpu_.state();
  load_segments(vmcs_, s);
  constexpr uint64_t kLow32 = 0xffffffff;
  constexpr uint32_t kBig = 0x4000;
  if (Segment& ss = s.segment[kSs]; ss.rights.unusable()) {
    ss.base &= kLow32 & ~uint64_t{0xf};
    ss.rights.value |= kBig;
  }
  for (const SegmentRegister i : {kDs, kEs})
    if (s.segment[i].rights.unusable()) s.segment[i].base &= kLow32;
  if (Segment& ldtr = s.segment[kLdtr];
      ldtr.rights.unusable() && !capabilities_.registers.canonical(ldtr.base))
    ldtr.base = 0;
}

// "Interruptibility State", "Activity State", "Delivery of Pending Debug Exceptions after VM
// Entry".
void Vmx::load_guest_non_register_state(const Injection& injection) {
  CpuState& s = cpu_.state();
  const bool vectoring = injection.event.has_value();
  const bool injects_nmi = vectoring && injection.event->type == EventType::kNmi;
  const uint64_t interruptibility = field(Field::kGuestInterruptibilityState);
  const bool mov_ss = interruptibility & interruptibility::kBlockingByMovSs;
  const bool blocked = interruptibility & interruptibility::kBlockingByNmi;

  s.activity = vectoring ? ActivityState::kActive
                         : static_cast<ActivityState>(field(Field::kGuestActivityState));
  s.blocking_by_sti = !vectoring && (interruptibility & interruptibility::kBlockingBySti);
  s.blocking_by_mov_ss = !vectoring && mov_ss;
  s.monitor_armed = false;
  if (vmcs_.has(PinBased::kVirtualNmis)) {
    virtual_nmi_blocking_ = blocked || injects_nmi;
    s.blocking_by_nmi = false;
  } else {
    virtual_nmi_blocking_ = false;
    s.blocking_by_nmi = blocked || injects_nmi;
  }

  const uint64_t pending = field(Field::kGuestPendingDebugExceptions);
  const bool valid = pending & (pending_debug::kEnabledBreakpoint | pending_debug::kSingleStep);
  bool dropped = !valid;
  if (vectoring) {
    const EventType type = injection.event->type;
    const bool keeps =
        mov_ss && (type == EventType::kSoftwareInterrupt || type == EventType::kSoftwareException);
    dropped = dropped || !keeps;
  } else if (s.activity == ActivityState::kShutdown || s.activity == ActivityState::kWaitForSipi) {
    dropped = true;
  }
  s.pending_debug_exceptions = dropped ? 0 : pending;
}

Outcome Vmx::fail_entry(ExitReason reason, uint64_t qualification) {
  const uint32_t exit_reason = static_cast<uint32_t>(reason) | kExitReasonEntryFailure;
  vmcs_.write(Field::kExitReason, exit_reason);
  vmcs_.write(Field::kExitQualification, qualification);
  report_exit();
  load_host();
  // The control registers of the host, and no change between root and non-root operation.
  cpu_.invalidate({.kind = Invalidation::Kind::kAccessRights});
  return Transferred{};
}

void Vmx::start_guest(bool launch, const Injection& injection) {
  if (launch) vmcs_.launch_state = Vmcs::LaunchState::kLaunched;
  in_non_root_ = true;
  load_guest_non_register_state(injection);
  begin_apic_virtualization();
  mtf_pending_ =
      injection.pending_mtf || (injection.event && vmcs_.has(PrimaryProcBased::kMonitorTrapFlag));

  if (vmcs_.has(PinBased::kActivatePreemptionTimer)) {
    // The timer counts where bit `shift` of the TSC changes.
    const unsigned shift = capabilities_.preemption_timer_shift;
    const uint64_t tsc = cpu_.tsc();
    const uint64_t end = ((tsc >> shift) + field(Field::kVmxPreemptionTimerValue)) << shift;
    preemption_deadline_ = cpu_.tsc_increments() + (end - tsc);
  }
  // "Updating Non-Register State".
  if (!vmcs_.has(SecondaryProcBased::kEnableVpid))
    cpu_.invalidate({.kind = Invalidation::Kind::kLinearVpid});

  VmEntryEvent event;
  event.launch = launch;
  event.vmcs = current_vmcs_;
  event.data = &vmcs_;
  event.guest_rip = cpu_.state().rip;
  event.guest_cr3 = cpu_.state().cr3;
  event.eptp = eptp().value_or(0);
  event.vpid = vpid();
  event.interruption_information =
      static_cast<uint32_t>(field(Field::kVmEntryInterruptionInformation));
  sink_.vm_entry(event);
  if (injection.event) cpu_.inject(*injection.event);
}

}  // namespace nestor::vmx
