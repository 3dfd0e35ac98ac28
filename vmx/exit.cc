// SPDX-License-Identifier: GPL-2.0-or-later
//
// VM exits ("VM Exits"): the exit information, the guest state, then the host state.
#include "vmx/guest_area.h"
#include "vmx/guest_state_formats.h"
#include "vmx/msr_lists.h"
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {

bool is_double_fault(const std::optional<Event>& event) {
  return event && event->type == EventType::kHardwareException && event->vector == kDf;
}

constexpr uint32_t kTaskGateSource = 3;  // "Exit Qualification for Task Switches"
bool is_task_switch_by_instruction(const ExitInformation& exit) {
  return exit.reason == ExitReason::kTaskSwitch && (exit.qualification >> 30) != kTaskGateSource;
}

// RFLAGS.RF as the delivery of `event` pushes it.
uint64_t pushed_rflags(uint64_t flags, const Event& event) {
  if (is_fault(event)) return flags | rflags::kRf;
  return is_software(event.type) ? flags & ~rflags::kRf : flags;
}

}  // namespace

// "Information for VM Exits During Event Delivery": has the exit to do with the event under
// delivery?
bool Vmx::occurs_during_delivery(const ExitInformation& exit) const {
  if (!vectoring_ || exit.reason == ExitReason::kTripleFault) return false;
  if (is_task_switch_by_instruction(exit)) return false;
  return !is_double_fault(exit.interruption);
}

// "Information About NMI Unblocking Due to IRET": the faults that result from a memory access.
constexpr bool is_fault_of_access(uint8_t vector) {
  return vector == kPf || vector == kAc || vector == kVe;
}

bool Vmx::unblocks_nmis(const ExitInformation& exit) const {
  return unblocking_iret_ == cpu_.state().rip && !occurs_during_delivery(exit) &&
         !is_double_fault(exit.interruption);
}

uint64_t Vmx::saved_qualification(const ExitInformation& exit) const {
  const bool reports_unblocking = has_trait(exit.reason, kExitReportsNmiUnblocking);
  return exit.qualification |
         (reports_unblocking && unblocks_nmis(exit) ? interruption::kNmiUnblocking : 0);
}

void Vmx::record_exit(const ExitInformation& exit) {
  const CpuState& s = cpu_.state();
  const bool delivering = occurs_during_delivery(exit);

  vmcs_.write(Field::kExitReason, static_cast<uint32_t>(exit.reason));
  vmcs_.write(Field::kExitQualification, saved_qualification(exit));
  vmcs_.write(Field::kGuestLinearAddress, exit.guest_linear.value_or(0));
  vmcs_.write(Field::kGuestPhysicalAddress, exit.guest_physical.value_or(0));

  uint32_t information = 0, error_code = 0;
  // The instruction at RIP has no part in what happens while an event is delivered.
  uint32_t length = delivering ? 0 : exit.instruction_length;
  if (exit.interruption) {
    const Event& event = *exit.interruption;
    information = interruption_information(event, s.protected_mode());
    if (event.type == EventType::kHardwareException && is_fault_of_access(event.vector) &&
        unblocks_nmis(exit))
      information |= interruption::kNmiUnblocking;
    error_code = event.error_code.value_or(0);
    // A nested fault of the delivery of #DF sets EXT, except #PF, whose error code has no such bit.
    if (event.error_code && delivering && is_double_fault(vectoring_) && event.vector != kPf)
      error_code |= 1;
    if (is_software(event.type)) length = event.instruction_length;
  }
  vmcs_.write(Field::kVmExitInterruptionInformation, information);
  vmcs_.write(Field::kVmExitInterruptionErrorCode, error_code);

  information = error_code = 0;
  if (delivering) {
    information = interruption_information(*vectoring_, s.protected_mode());
    error_code = vectoring_->error_code.value_or(0);
    if (is_software(vectoring_->type)) length = vectoring_->instruction_length;
  }
  vmcs_.write(Field::kIdtVectoringInformation, information);
  vmcs_.write(Field::kIdtVectoringErrorCode, error_code);

  vmcs_.write(Field::kVmExitInstructionLength, length);
  vmcs_.write(Field::kVmExitInstructionInformation, exit.instruction_information);

  update_entry_fields();
}

// VM exits change two VM-entry fields: the event was injected, and the guest may have changed its
// mode.
void Vmx::update_entry_fields() {
  vmcs_.write(Field::kVmEntryInterruptionInformation,
              field(Field::kVmEntryInterruptionInformation) & ~uint64_t{interruption::kValid});
  if (capabilities_.has_misc(vmx_misc::kStoresLma)) {
    uint64_t controls =
        field(Field::kVmEntryControls) & ~uint64_t{mask(VmEntryControl::kIa32eModeGuest)};
    if (cpu_.state().long_mode_active()) controls |= mask(VmEntryControl::kIa32eModeGuest);
    vmcs_.write(Field::kVmEntryControls, controls);
  }
}

// "Saving RIP, RSP, RFLAGS, and SSP".
uint64_t Vmx::saved_rflags(const ExitInformation& exit) const {
  const uint64_t flags = cpu_.state().rflags;
  if (has_trait(exit.reason, kExitOfEvent))
    return exit.interruption ? pushed_rflags(flags, *exit.interruption) : flags;
  // Injection pushes RF as it is.
  if (occurs_during_delivery(exit))
    return vectoring_injected_ ? flags : pushed_rflags(flags, *vectoring_);
  if (has_trait(exit.reason, kExitOfAccess)) return flags | rflags::kRf;
  if (has_trait(exit.reason, kExitAtBoundary)) return flags;
  return flags & ~rflags::kRf;
}

// "Saving Non-Register State", "Pending debug exceptions".
bool Vmx::keeps_pending_debug_exceptions(const ExitInformation& exit) const {
  if (has_trait(exit.reason, kExitKeepsPendingDebugExceptions)) return true;
  if (exit.reason == ExitReason::kExceptionOrNmi && exit.interruption) {
    const Event& event = *exit.interruption;
    if (event.vector == kMc) return true;
    if (event.vector == kDb) return false;
  }
  return cpu_.state().blocking_by_mov_ss && !vectoring_;
}

// PAE paging under EPT ("Saving Non-Register State"). Otherwise the fields are undefined, and stay
// as they are.
bool Vmx::saves_pdptes() const {
  const CpuState& s = cpu_.state();
  return (s.cr0 & cr0::kPg) && (s.cr4 & cr4::kPae) && !s.long_mode_active() &&
         vmcs_.has(SecondaryProcBased::kEnableEpt);
}

void Vmx::save_guest_state(const ExitInformation& exit) {
  const CpuState& s = cpu_.state();
  vmcs_.write(Field::kGuestCr0, s.cr0);
  vmcs_.write(Field::kGuestCr3, s.cr3);
  vmcs_.write(Field::kGuestCr4, s.cr4);
  vmcs_.write(Field::kGuestIa32SysenterCs, s.sysenter_cs);
  vmcs_.write(Field::kGuestIa32SysenterEsp, s.sysenter_esp);
  vmcs_.write(Field::kGuestIa32SysenterEip, s.sysenter_eip);
  if (vmcs_.has(VmExitControl::kSaveDebugControls)) {
    vmcs_.write(Field::kGuestDr7, s.dr7);
    vmcs_.write(Field::kGuestIa32Debugctl, s.debugctl);
  }
  if (vmcs_.has(VmExitControl::kSavePat)) vmcs_.write(Field::kGuestIa32Pat, s.pat);
  if (vmcs_.has(VmExitControl::kSaveEfer)) vmcs_.write(Field::kGuestIa32Efer, s.efer);
  if (vmcs_.has(VmExitControl::kSavePerfGlobalCtrl))
    vmcs_.write(Field::kGuestIa32PerfGlobalCtrl, s.perf_global_ctrl);
  if (capabilities_.offers(VmEntryControl::kLoadPkrs)) vmcs_.write(Field::kGuestIa32Pkrs, s.pkrs);

  store_segments(s, vmcs_);
  vmcs_.write(Field::kGuestRip, s.rip);
  vmcs_.write(Field::kGuestRsp, s.gpr[kRsp]);
  vmcs_.write(Field::kGuestRflags, saved_rflags(exit));

  // An event that causes the exit indirectly has ended inactivity and blocking ("Architectural
  // State Before a VM Exit"), also where a double or triple fault came of it.
  const bool delivering = vectoring_.has_value();
  const ActivityState activity = delivering ? ActivityState::kActive : s.activity;
  vmcs_.write(Field::kGuestActivityState, static_cast<uint32_t>(activity));
  uint64_t interruptibility = 0;
  if (s.blocking_by_sti && !delivering) interruptibility |= interruptibility::kBlockingBySti;
  if (s.blocking_by_mov_ss && !delivering) interruptibility |= interruptibility::kBlockingByMovSs;
  if (vmcs_.has(PinBased::kVirtualNmis) ? virtual_nmi_blocking_ : s.blocking_by_nmi)
    interruptibility |= interruptibility::kBlockingByNmi;
  vmcs_.write(Field::kGuestInterruptibilityState, interruptibility);
  vmcs_.write(Field::kGuestPendingDebugExceptions,
              keeps_pending_debug_exceptions(exit) ? s.pending_debug_exceptions : 0);

  if (vmcs_.has(VmExitControl::kSavePreemptionTimerValue) && preemption_deadline_) {
    const uint64_t now = cpu_.tsc_increments(), end = *preemption_deadline_;
    const uint64_t tick = uint64_t{1} << capabilities_.preemption_timer_shift;
    const bool expired = exit.reason == ExitReason::kPreemptionTimerExpired || end <= now;
    vmcs_.write(Field::kVmxPreemptionTimerValue, expired ? 0 : (end - now + tick - 1) / tick);
  }
  if (saves_pdptes()) {
    vmcs_.write(Field::kGuestPdpte0, s.pdptes[0]);
    vmcs_.write(Field::kGuestPdpte1, s.pdptes[1]);
    vmcs_.write(Field::kGuestPdpte2, s.pdptes[2]);
    vmcs_.write(Field::kGuestPdpte3, s.pdptes[3]);
  }
}

void Vmx::abort(VmxAbort reason) {
  const auto indicator = static_cast<uint32_t>(reason);
  std::array<uint8_t, 4> bytes{static_cast<uint8_t>(indicator), 0, 0, 0};
  cpu_.write_physical({current_vmcs_ + kVmxAbortIndicatorOffset}, bytes);
  cpu_.vmx_abort(indicator);
}

VmExitEvent exit_event_of(const Vmcs& vmcs) {
  const auto field32 = [&vmcs](Field field) { return static_cast<uint32_t>(vmcs[field]); };
  VmExitEvent event;
  event.data = &vmcs;
  event.reason = field32(Field::kExitReason);
  event.qualification = vmcs[Field::kExitQualification];
  event.guest_rip = vmcs[Field::kGuestRip];
  if ((event.reason & kExitReasonEntryFailure) != 0) return event;
  event.guest_linear = vmcs[Field::kGuestLinearAddress];
  event.guest_physical = vmcs[Field::kGuestPhysicalAddress];
  event.instruction_length = field32(Field::kVmExitInstructionLength);
  event.instruction_information = field32(Field::kVmExitInstructionInformation);
  event.interruption_information = field32(Field::kVmExitInterruptionInformation);
  event.interruption_error_code = field32(Field::kVmExitInterruptionErrorCode);
  event.idt_vectoring_information = field32(Field::kIdtVectoringInformation);
  event.idt_vectoring_error_code = field32(Field::kIdtVectoringErrorCode);
  return event;
}

void Vmx::report_exit(std::string_view why) {
  VmExitEvent event = exit_event_of(vmcs_);
  event.vmcs = current_vmcs_;
  event.state = &cpu_.state();
  event.why = why;
  sink_.vm_exit(event);
}

// Nothing of this guest is left for the next VM entry.
void Vmx::leave_non_root() {
  in_non_root_ = false;
  vectoring_.reset();
  preemption_deadline_.reset();
  last_pause_.reset();
  unblocking_iret_.reset();
  apic_exit_.reset();
  virtual_nmi_blocking_ = mtf_pending_ = virtual_interrupt_recognized_ = false;
}

void Vmx::vm_exit(const ExitInformation& exit) {
  const bool was_long_mode = cpu_.state().long_mode_active();
  record_exit(exit);
  save_guest_state(exit);
  report_exit(exit.interruption ? exit.interruption->why : std::string_view());
  complete_exit(was_long_mode);
}

// What a VM exit leaves in the VMCS only if a control, or the paging mode, asks for it; other
// guest-state fields that do not change are the last in the list.
bool Vmx::exit_saves(Field guest_field) const {
  switch (guest_field) {
    case Field::kGuestDr7:
    case Field::kGuestIa32Debugctl:
      return vmcs_.has(VmExitControl::kSaveDebugControls);
    case Field::kGuestIa32Pat:
      return vmcs_.has(VmExitControl::kSavePat);
    case Field::kGuestIa32Efer:
      return vmcs_.has(VmExitControl::kSaveEfer);
    case Field::kGuestIa32PerfGlobalCtrl:
      return vmcs_.has(VmExitControl::kSavePerfGlobalCtrl);
    case Field::kVmxPreemptionTimerValue:
      return vmcs_.has(VmExitControl::kSavePreemptionTimerValue);
    case Field::kGuestPdpte0:
    case Field::kGuestPdpte1:
    case Field::kGuestPdpte2:
    case Field::kGuestPdpte3:
      return saves_pdptes();
    case Field::kVmcsLinkPointer:
    case Field::kGuestSmbase:
    case Field::kPmlIndex:
    case Field::kGuestInterruptStatus:
      return false;
    default:
      return true;
  }
}

void Vmx::reflect_exit(const Vmcs& taken) {
  for (const FieldInfo& info : kFields) {
    const bool information = type_of(info.field) == FieldType::kVmExitInformation &&
                             info.field != Field::kVmInstructionError;
    const bool guest_state =
        type_of(info.field) == FieldType::kGuestState && exit_saves(info.field);
    if ((information || guest_state) && capabilities_.has_field(info.field)) {
      vmcs_.write(info.field, taken[info.field]);
    }
  }
  update_entry_fields();
  report_exit();
  complete_exit(cpu_.state().long_mode_active());
}

// From the exit information on: the MSR lists and the host state.
void Vmx::complete_exit(bool was_long_mode) {
  // Before the MSR lists: they see the processor's own time-stamp counter.
  leave_non_root();

  const MsrList store{{field(Field::kVmExitMsrStoreAddress)},
                      static_cast<uint32_t>(field(Field::kVmExitMsrStoreCount)),
                      capabilities_.msr_list_size};
  if (const auto failure = store_msrs(cpu_, store)) {
    sink_.check_failed(failed_check("vm-exit-msr-store", "VM-exit MSR-store area", "Saving MSRs",
                                    store, *failure));
    return abort(VmxAbort::kSavingGuestMsrs);
  }
  if (was_long_mode && !vmcs_.has(VmExitControl::kHostAddressSpaceSize))
    return abort(VmxAbort::kHostNotIa32e);

  const auto interruption = static_cast<uint32_t>(field(Field::kVmExitInterruptionInformation));
  const bool nmi = interruption::is_valid(interruption) &&
                   interruption::type_of(interruption) == EventType::kNmi &&
                   field(Field::kExitReason) == static_cast<uint64_t>(ExitReason::kExceptionOrNmi);
  load_host();
  if (nmi) cpu_.state().blocking_by_nmi = true;
}

void Vmx::load_host() {
  if (!load_host_state()) return abort(VmxAbort::kHostPdptes);
  const MsrList load{{field(Field::kVmExitMsrLoadAddress)},
                     static_cast<uint32_t>(field(Field::kVmExitMsrLoadCount)),
                     capabilities_.msr_list_size};
  if (const auto failure = load_msrs(cpu_, load)) {
    sink_.check_failed(
        failed_check("vm-exit-msr-load", "VM-exit MSR-load area", "Loading MSRs", load, *failure));
    return abort(VmxAbort::kLoadingHostMsrs);
  }
  if (!vmcs_.has(SecondaryProcBased::kEnableVpid))
    cpu_.invalidate({.kind = Invalidation::Kind::kLinearVpid});
}

// "Loading Host State"; false: the PDPTEs are not valid.
bool Vmx::load_host_state() {
  CpuState& s = cpu_.state();
  const bool host64 = vmcs_.has(VmExitControl::kHostAddressSpaceSize);

  const uint64_t kept = kCr0NotModified;
  const uint64_t fixed = ~(capabilities_.cr0_fixed0 ^ capabilities_.cr0_fixed1) & ~kept;
  s.cr0 = (s.cr0 & kept) | (field(Field::kHostCr0) & ~kept & ~fixed) |
          (capabilities_.cr0_fixed0 & fixed);
  s.cr3 = field(Field::kHostCr3) &
          ((uint64_t{1} << capabilities_.registers.physical_address_width) - 1);
  s.cr4 = (field(Field::kHostCr4) & capabilities_.cr4_fixed1()) | capabilities_.cr4_fixed0;
  if (host64)
    s.cr4 |= cr4::kPae;
  else
    s.cr4 &= ~cr4::kPcide;
  s.dr7 = 0x400;
  s.debugctl = 0;
  s.sysenter_cs = field(Field::kHostIa32SysenterCs);
  s.sysenter_esp = field(Field::kHostIa32SysenterEsp);
  s.sysenter_eip = field(Field::kHostIa32SysenterEip);

  constexpr uint64_t kLongMode = efer::kLma | efer::kLme;
  s.efer = host64 ? s.efer | kLongMode : s.efer & ~kLongMode;
  if (vmcs_.has(VmExitControl::kLoadEfer)) s.efer = field(Field::kHostIa32Efer);
  if (vmcs_.has(VmExitControl::kLoadPat)) s.pat = field(Field::kHostIa32Pat);
  if (vmcs_.has(VmExitControl::kLoadPkrs))
    s.pkrs = static_cast<uint32_t>(field(Field::kHostIa32Pkrs));
  if (vmcs_.has(VmExitControl::kLoadPerfGlobalCtrl))
    s.perf_global_ctrl = field(Field::kHostIa32PerfGlobalCtrl);

  load_host_segments();
  s.rip = field(Field::kHostRip);
  s.gpr[kRsp] = field(Field::kHostRsp);
  s.rflags = rflags::kFixed1;

  s.activity = ActivityState::kActive;
  s.blocking_by_sti = s.blocking_by_mov_ss = false;
  s.monitor_armed = false;
  s.pending_debug_exceptions = 0;
  return host64 || !(s.cr4 & cr4::kPae) || cpu_.load_pdptes(s.cr3);
}

// "Loading Host Segment and Descriptor-Table Registers".
void Vmx::load_host_segments() {
  CpuState& s = cpu_.state();
  constexpr uint32_t kPresent = 0x80, kCodeOrData = 0x10, kLong = 0x2000, kBig = 0x4000,
                     kGranular = 0x8000;
  constexpr uint32_t kAccessedCode = 11, kAccessedData = 3, kBusyTss = 11;
  const bool host64 = vmcs_.has(VmExitControl::kHostAddressSpaceSize);

  struct HostSegment {
    SegmentRegister segment;
    Field selector;
    std::optional<Field> base;
  };
  const std::array<HostSegment, 5> data = {{
      {kEs, Field::kHostEsSelector, std::nullopt},
      {kSs, Field::kHostSsSelector, std::nullopt},
      {kDs, Field::kHostDsSelector, std::nullopt},
      {kFs, Field::kHostFsSelector, Field::kHostFsBase},
      {kGs, Field::kHostGsSelector, Field::kHostGsBase},
  }};
  for (const HostSegment& host : data) {
    Segment& segment = s.segment[host.segment];
    segment.selector = static_cast<uint16_t>(field(host.selector));
    segment.base = host.base ? field(*host.base) : 0;
    segment.limit = 0xffffffff;
    segment.rights.value = kPresent | kCodeOrData | kAccessedData | kBig | kGranular;
    if (segment.selector == 0) segment.rights.value |= AccessRights::kUnusable;
  }
  s.segment[kCs] = {static_cast<uint16_t>(field(Field::kHostCsSelector)),
                    {kPresent | kCodeOrData | kAccessedCode | kGranular | (host64 ? kLong : kBig)},
                    0xffffffff,
                    0};
  s.segment[kTr] = {static_cast<uint16_t>(field(Field::kHostTrSelector)),
                    {kPresent | kBusyTss},
                    0x67,
                    field(Field::kHostTrBase)};
  s.segment[kLdtr] = {0, {AccessRights::kUnusable}, 0, 0};
  s.gdtr = {field(Field::kHostGdtrBase), 0xffff};
  s.idtr = {field(Field::kHostIdtrBase), 0xffff};
}

}  // namespace nestor::vmx
