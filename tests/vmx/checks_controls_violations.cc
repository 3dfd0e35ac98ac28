// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using F = Field;
using M = Machine;
using Pin = PinBased;
using Primary = PrimaryProcBased;
using Secondary = SecondaryProcBased;
using Tertiary = TertiaryProcBased;
using Exit = VmExitControl;
using Entry = VmEntryControl;

// A 4-KByte-aligned address that some control lets the processor use.
void add_page(std::vector<Violation>& all, const std::string& id, Field field,
              void (*prepare)(Machine&)) {
  all.push_back({id + "-alignment", prepare, {{field, 0x9800}}, {}, {}});
  all.push_back({id + "-width", prepare, {{field, M::kBeyondWidth}}, {}, {}});
}

void add_msr_area(std::vector<Violation>& all, const std::string& id, Field address,
                  void (*prepare)(Machine&)) {
  all.push_back({id + "-alignment", prepare, {{address, 0x9008}}, {}, {}});
  all.push_back({id + "-width", prepare, {{address, M::kBeyondWidth}}, {}, {id + "-end-width"}});
  all.push_back({id + "-end-width", prepare, {{address, M::kLastPage + 0xff0}}, {}, {}});
}

template <auto... kControls>
void with(Machine& m) {
  m.on(kControls...);
}
template <auto kControl>
void with_ept(Machine& m) {
  m.enable_ept();
  m.on(kControl);
}
void without_ept(Machine& m) { m.off(Secondary::kEnableEpt); }
void without_tpr_shadow(Machine& m) { m.off(Primary::kUseTprShadow); }
void with_switching(Machine& m) {
  m.enable_ept();
  m.on(Secondary::kEnableVmFunctions, VmFunction::kEptpSwitching);
}
void with_pid_table(Machine& m) {
  m.enable_tpr_shadow();
  m.on(Tertiary::kIpiVirtualization);
  m.set(F::kLastPidPointerIndex, 1);
}
void with_pt_in_guest(Machine& m) {
  m.enable_ept();
  m.on(Secondary::kPtUsesGuestPhysicalAddresses, Entry::kLoadRtitCtl, Exit::kClearRtitCtl);
}
void posted(Machine& m) { m.enable_posted_interrupts(); }

}  // namespace

std::vector<Violation> control_violations() {
  std::vector<Violation> all = {
      {"pin-based-reserved", {}, {{F::kPinBasedControls, 0x14}}, {}, {}},
      {"primary-reserved",
       {},
       {},
       [](M& m) { m.clear_bits(F::kPrimaryProcBasedControls, 1u << 13); },
       {}},
      {"secondary-reserved", {}, {{F::kSecondaryProcBasedControls, 1u << 29}}, {}, {}},
      {"tertiary-reserved", {}, {{F::kTertiaryProcBasedControls, 1u << 5}}, {}, {}},
      {"cr3-target-count", {}, {{F::kCr3TargetCount, 5}}, {}, {}},
      {"tpr-threshold-reserved",
       [](M& m) { m.enable_tpr_shadow(); },
       {{F::kTprThreshold, 0x10}},
       {},
       {}},
      {"tpr-threshold-vtpr",
       [](M& m) {
         m.enable_tpr_shadow();
         m.set(F::kTprThreshold, 3);
         m.memory.write<uint8_t>(0x6080, 0x30);
       },
       {},
       [](M& m) { m.memory.write<uint8_t>(0x6080, 0x2f); },
       {}},
      {"virtual-nmis-need-nmi-exiting",
       with<Pin::kNmiExiting, Pin::kVirtualNmis>,
       {},
       [](M& m) { m.off(Pin::kNmiExiting); },
       {}},
      {"nmi-window-needs-virtual-nmis",
       with<Pin::kNmiExiting, Pin::kVirtualNmis, Primary::kNmiWindowExiting>,
       {},
       [](M& m) { m.off(Pin::kVirtualNmis); },
       {}},
      {"x2apic-mode-needs-tpr-shadow",
       [](M& m) {
         m.enable_tpr_shadow();
         m.on(Secondary::kVirtualizeX2apicMode);
       },
       {},
       without_tpr_shadow,
       {}},
      {"apic-register-virtualization-needs-tpr-shadow",
       [](M& m) {
         m.enable_tpr_shadow();
         m.on(Secondary::kApicRegisterVirtualization);
       },
       {},
       without_tpr_shadow,
       {}},
      {"virtual-interrupt-delivery-needs-tpr-shadow",
       [](M& m) { m.enable_virtual_interrupts(); },
       {},
       without_tpr_shadow,
       {}},
      {"ipi-virtualization-needs-tpr-shadow", with_pid_table, {}, without_tpr_shadow, {}},
      {"x2apic-mode-excludes-apic-accesses",
       [](M& m) {
         m.enable_tpr_shadow();
         m.on(Secondary::kVirtualizeX2apicMode);
       },
       {},
       with<Secondary::kVirtualizeApicAccesses>,
       {}},
      {"virtual-interrupt-delivery-needs-interrupt-exiting",
       [](M& m) { m.enable_virtual_interrupts(); },
       {},
       [](M& m) { m.off(Pin::kExternalInterruptExiting); },
       {}},
      {"posted-interrupts-need-virtual-interrupt-delivery",
       posted,
       {},
       [](M& m) { m.off(Secondary::kVirtualInterruptDelivery); },
       {}},
      {"posted-interrupts-need-acknowledge",
       posted,
       {},
       [](M& m) { m.off(Exit::kAcknowledgeInterruptOnExit); },
       {}},
      {"posted-interrupt-vector", posted, {{F::kPostedInterruptNotificationVector, 0x100}}, {}, {}},
      {"posted-interrupt-descriptor-alignment",
       posted,
       {{F::kPostedInterruptDescriptorAddress, 0x7020}},
       {},
       {}},
      {"posted-interrupt-descriptor-width",
       posted,
       {{F::kPostedInterruptDescriptorAddress, M::kBeyondWidth}},
       {},
       {}},
      {"pid-pointer-table-alignment",
       with_pid_table,
       {{F::kPidPointerTableAddress, 0x9004}},
       {},
       {}},
      {"pid-pointer-table-width",
       with_pid_table,
       {{F::kPidPointerTableAddress, M::kBeyondWidth}},
       {},
       {"pid-pointer-table-end-width"}},
      {"pid-pointer-table-end-width",
       with_pid_table,
       {{F::kPidPointerTableAddress, M::kLastPage + 0xff8}},
       {},
       {}},
      {"vpid-zero",
       [](M& m) { m.set(F::kVirtualProcessorIdentifier, 0); },
       {},
       with<Secondary::kEnableVpid>,
       {}},
      {"eptp-memory-type", [](M& m) { m.enable_ept(); }, {{F::kEptPointer, 0x801d}}, {}, {}},
      {"eptp-walk-length", [](M& m) { m.enable_ept(); }, {{F::kEptPointer, 0x8016}}, {}, {}},
      {"eptp-accessed-dirty",
       [](M& m) {
         m.enable_ept();
         m.set_bits(F::kEptPointer, 1u << 6);
       },
       {},
       [](M& m) { m.capabilities.ept_vpid &= ~ept_vpid_cap::kAccessedDirty; },
       {}},
      {"eptp-reserved", [](M& m) { m.enable_ept(); }, {{F::kEptPointer, 0x809e}}, {}, {}},
      {"pml-needs-ept", with_ept<Secondary::kEnablePml>, {}, without_ept, {}},
      {"unrestricted-guest-needs-ept",
       with_ept<Secondary::kUnrestrictedGuest>,
       {},
       without_ept,
       {}},
      {"mode-based-execute-needs-ept",
       with_ept<Secondary::kModeBasedExecuteControl>,
       {},
       without_ept,
       {}},
      {"sub-page-write-needs-ept",
       with_ept<Secondary::kSubPageWritePermissions>,
       {},
       without_ept,
       {}},
      {"pt-guest-physical-needs-ept", with_pt_in_guest, {}, without_ept, {}},
      {"hlat-needs-ept", with_ept<Tertiary::kEnableHlat>, {}, without_ept, {}},
      {"paging-write-needs-ept", with_ept<Tertiary::kEptPagingWriteControl>, {}, without_ept, {}},
      {"guest-paging-verification-needs-ept",
       with_ept<Tertiary::kGuestPagingVerification>,
       {},
       without_ept,
       {}},
      {"vm-functions-reserved",
       with<Secondary::kEnableVmFunctions>,
       {{F::kVmFunctionControls, 2}},
       {},
       {}},
      {"eptp-switching-needs-ept", with_switching, {}, without_ept, {}},
      {"rtit-load-while-tracing",
       with<Entry::kLoadRtitCtl>,
       {},
       [](M& m) { m.intel_pt_on = true; },
       {}},
      {"pt-guest-physical-needs-rtit-load",
       with_pt_in_guest,
       {},
       [](M& m) { m.off(Entry::kLoadRtitCtl); },
       {}},
      {"pt-guest-physical-needs-rtit-clear",
       with_pt_in_guest,
       {},
       [](M& m) { m.off(Exit::kClearRtitCtl); },
       {}},
      {"tsc-multiplier-zero", {}, {}, with<Secondary::kUseTscScaling>, {}},
      {"hlatp-reserved", with_ept<Tertiary::kEnableHlat>, {{F::kHlatPointer, 0x9020}}, {}, {}},

      {"exit-reserved", {}, {}, [](M& m) { m.clear_bits(F::kVmExitControls, 1u << 17); }, {}},
      {"secondary-exit-reserved", {}, {{F::kSecondaryVmExitControls, 1u << 5}}, {}, {}},
      {"save-timer-needs-timer",
       with<Pin::kActivatePreemptionTimer, Exit::kSavePreemptionTimerValue>,
       {},
       [](M& m) { m.off(Pin::kActivatePreemptionTimer); },
       {}},

      {"entry-reserved", {}, {}, [](M& m) { m.clear_bits(F::kVmEntryControls, 1u << 12); }, {}},
      {"injection-type", {}, {}, [](M& m) { m.inject(0x100); }, {}},
      {"injection-nmi-vector", {}, {}, [](M& m) { m.inject(0x203); }, {}},
      {"injection-exception-vector", {}, {}, [](M& m) { m.inject(0x320); }, {}},
      {"injection-other-vector", {}, {}, [](M& m) { m.inject(0x701); }, {}},
      {"injection-error-code-missing",
       [](M& m) { m.inject(0xb0d); },
       {},
       [](M& m) { m.inject(0x30d); },
       {}},
      {"injection-error-code-forbidden",
       [](M& m) { m.inject(0x306); },
       {},
       [](M& m) { m.inject(0xb06); },
       {}},
      {"injection-reserved", [](M& m) { m.inject(0x306); }, {}, [](M& m) { m.inject(0x1306); }, {}},
      {"injection-error-code-value",
       [](M& m) { m.inject(0xb0d); },
       {{F::kVmEntryExceptionErrorCode, 0x10000}},
       {},
       {}},
      {"injection-instruction-length",
       [](M& m) { m.inject(0x480); },
       {{F::kVmEntryInstructionLength, 16}},
       {},
       {}},
      {"smm-controls-outside-smm", {}, {}, with<Entry::kEntryToSmm>, {"guest-smi-into-smm"}},
      {"smm-controls-exclusive",
       [](M& m) { m.enter_smm(); },
       {},
       with<Entry::kDeactivateDualMonitor>,
       {}},
  };

  add_page(all, "io-bitmap-a", F::kIoBitmapA, with<Primary::kUseIoBitmaps>);
  add_page(all, "io-bitmap-b", F::kIoBitmapB, with<Primary::kUseIoBitmaps>);
  add_page(all, "msr-bitmap", F::kMsrBitmaps, with<Primary::kUseMsrBitmaps>);
  add_page(all, "virtual-apic", F::kVirtualApicAddress, [](M& m) { m.enable_tpr_shadow(); });
  add_page(all, "apic-access", F::kApicAccessAddress, with<Secondary::kVirtualizeApicAccesses>);
  add_page(all, "pml", F::kPmlAddress, with_ept<Secondary::kEnablePml>);
  add_page(all, "spptp", F::kSubPagePermissionTablePointer,
           with_ept<Secondary::kSubPageWritePermissions>);
  add_page(all, "eptp-list", F::kEptpListAddress, with_switching);
  add_page(all, "vmread-bitmap", F::kVmreadBitmap, with<Secondary::kVmcsShadowing>);
  add_page(all, "vmwrite-bitmap", F::kVmwriteBitmap, with<Secondary::kVmcsShadowing>);
  add_page(all, "ve-information", F::kVirtualizationExceptionInformationAddress,
           with<Secondary::kEptViolationVe>);
  add_page(all, "low-pasid", F::kLowPasidDirectoryAddress, with<Secondary::kPasidTranslation>);
  add_page(all, "high-pasid", F::kHighPasidDirectoryAddress, with<Secondary::kPasidTranslation>);
  add_msr_area(all, "exit-msr-store", F::kVmExitMsrStoreAddress,
               [](M& m) { m.set(F::kVmExitMsrStoreCount, 2); });
  add_msr_area(all, "exit-msr-load", F::kVmExitMsrLoadAddress,
               [](M& m) { m.set(F::kVmExitMsrLoadCount, 2); });
  add_msr_area(all, "entry-msr-load", F::kVmEntryMsrLoadAddress,
               [](M& m) { m.set(F::kVmEntryMsrLoadCount, 2); });
  return all;
}

}  // namespace nestor::vmx
