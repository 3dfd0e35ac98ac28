// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/predicates.h"

namespace nestor::vmx::checks {
namespace {

using Pin = PinBased;
using Primary = PrimaryProcBased;
using Secondary = SecondaryProcBased;
using Tertiary = TertiaryProcBased;
using F = Field;

constexpr std::string_view kSection = "VM-Execution Control Fields";

constexpr std::string_view kFixedBits = "bits must be as the VMX capability MSRs fix them";
constexpr std::string_view kClearedBits =
    "bits that the VMX capability MSRs do not offer must be 0";
constexpr std::string_view kAligned4K = "bits 11:0 must be 0";
constexpr std::string_view kWidth = "no bit beyond the physical-address width may be 1";
constexpr std::string_view kNeedsEpt = "\"enable EPT\" must be 1";
constexpr std::string_view kNeedsTprShadow = "must be 0 if \"use TPR shadow\" is 0";

// VTPR, the byte at offset 80H of the virtual-APIC page ("Virtualized APIC Registers").
constexpr uint64_t kVtprOffset = 0x80;

bool threshold_applies(Context c, Field) {
  return c.vmcs.has(Primary::kUseTprShadow) && !c.vmcs.has(Secondary::kVirtualInterruptDelivery);
}
bool threshold_compared(Context c, Field field) {
  return threshold_applies(c, field) && !c.vmcs.has(Secondary::kVirtualizeApicAccesses) &&
         c.memory != nullptr;
}
bool threshold_not_above_vtpr(Context c, Field field) {
  uint8_t vtpr = 0xff;
  c.memory->read({c[Field::kVirtualApicAddress] + kVtprOffset}, {&vtpr, 1});
  return (c[field] & 0xf) <= (vtpr >> 4);
}

// "Extended-Page-Table Pointer (EPTP)".
bool eptp_memory_type(Context c, Field field) {
  switch (c[field] & 7) {
    case 0:
      return c.capabilities.has_ept_vpid(ept_vpid_cap::kUncacheable);
    case 6:
      return c.capabilities.has_ept_vpid(ept_vpid_cap::kWriteBack);
    default:
      return false;
  }
}
bool eptp_walk_length(Context c, Field field) {
  switch (c[field] >> 3 & 7) {
    case 3:
      return c.capabilities.has_ept_vpid(ept_vpid_cap::kWalkLength4);
    case 4:
      return c.capabilities.has_ept_vpid(ept_vpid_cap::kWalkLength5);
    default:
      return false;
  }
}
bool eptp_accessed_dirty(Context c, Field field) {
  return (c[field] & 1u << 6) == 0 || c.capabilities.has_ept_vpid(ept_vpid_cap::kAccessedDirty);
}
bool eptp_reserved(Context c, Field field) {
  const uint64_t shadow_stack =
      c.capabilities.has_ept_vpid(ept_vpid_cap::kSupervisorShadowStack) ? 1u << 7 : 0;
  return (c[field] & (~physical_bits(c) | (0xf80 & ~shadow_stack))) == 0;
}

bool last_pid_pointer_within_width(Context c, Field field) {
  const uint64_t offset = 8 * c[F::kLastPidPointerIndex];  // a 16-bit field
  return c[field] <= physical_bits(c) && offset <= physical_bits(c) - c[field];
}

constexpr EntryCheck kChecks[] = {
    {"pin-based-reserved", F::kPinBasedControls, always, as_offered<ControlGroup::kPinBased>,
     kFixedBits, kSection},
    {"primary-reserved", F::kPrimaryProcBasedControls, always,
     as_offered<ControlGroup::kPrimaryProcBased>, kFixedBits, kSection},
    {"secondary-reserved", F::kSecondaryProcBasedControls, on<Primary::kActivateSecondaryControls>,
     as_offered<ControlGroup::kSecondaryProcBased>, kClearedBits, kSection},
    {"tertiary-reserved", F::kTertiaryProcBasedControls, on<Primary::kActivateTertiaryControls>,
     as_offered<ControlGroup::kTertiaryProcBased>, kClearedBits, kSection},
    {"cr3-target-count", F::kCr3TargetCount, always,
     [](Context c, Field f) { return c[f] <= c.capabilities.cr3_target_count; },
     "must not exceed the number of CR3-target values that IA32_VMX_MISC reports", kSection},
    {"io-bitmap-a-alignment", F::kIoBitmapA, on<Primary::kUseIoBitmaps>, zero<11, 0>, kAligned4K,
     kSection},
    {"io-bitmap-b-alignment", F::kIoBitmapB, on<Primary::kUseIoBitmaps>, zero<11, 0>, kAligned4K,
     kSection},
    {"io-bitmap-a-width", F::kIoBitmapA, on<Primary::kUseIoBitmaps>, within_width, kWidth,
     kSection},
    {"io-bitmap-b-width", F::kIoBitmapB, on<Primary::kUseIoBitmaps>, within_width, kWidth,
     kSection},
    {"msr-bitmap-alignment", F::kMsrBitmaps, on<Primary::kUseMsrBitmaps>, zero<11, 0>, kAligned4K,
     kSection},
    {"msr-bitmap-width", F::kMsrBitmaps, on<Primary::kUseMsrBitmaps>, within_width, kWidth,
     kSection},
    {"virtual-apic-alignment", F::kVirtualApicAddress, on<Primary::kUseTprShadow>, zero<11, 0>,
     kAligned4K, kSection},
    {"virtual-apic-width", F::kVirtualApicAddress, on<Primary::kUseTprShadow>, within_width, kWidth,
     kSection},
    {"tpr-threshold-reserved", F::kTprThreshold, threshold_applies, zero<31, 4>,
     "bits 31:4 must be 0", kSection},
    {"tpr-threshold-vtpr", F::kTprThreshold, threshold_compared, threshold_not_above_vtpr,
     "bits 3:0 must not exceed bits 7:4 of VTPR", kSection},
    {"virtual-nmis-need-nmi-exiting", F::kPinBasedControls, off<Pin::kNmiExiting>,
     off<Pin::kVirtualNmis>, "\"virtual NMIs\" must be 0 if \"NMI exiting\" is 0", kSection},
    {"nmi-window-needs-virtual-nmis", F::kPrimaryProcBasedControls, off<Pin::kVirtualNmis>,
     off<Primary::kNmiWindowExiting>, "\"NMI-window exiting\" must be 0 if \"virtual NMIs\" is 0",
     kSection},
    {"apic-access-alignment", F::kApicAccessAddress, on<Secondary::kVirtualizeApicAccesses>,
     zero<11, 0>, kAligned4K, kSection},
    {"apic-access-width", F::kApicAccessAddress, on<Secondary::kVirtualizeApicAccesses>,
     within_width, kWidth, kSection},
    {"x2apic-mode-needs-tpr-shadow", F::kSecondaryProcBasedControls, off<Primary::kUseTprShadow>,
     off<Secondary::kVirtualizeX2apicMode>, kNeedsTprShadow, kSection},
    {"apic-register-virtualization-needs-tpr-shadow", F::kSecondaryProcBasedControls,
     off<Primary::kUseTprShadow>, off<Secondary::kApicRegisterVirtualization>, kNeedsTprShadow,
     kSection},
    {"virtual-interrupt-delivery-needs-tpr-shadow", F::kSecondaryProcBasedControls,
     off<Primary::kUseTprShadow>, off<Secondary::kVirtualInterruptDelivery>, kNeedsTprShadow,
     kSection},
    {"ipi-virtualization-needs-tpr-shadow", F::kTertiaryProcBasedControls,
     off<Primary::kUseTprShadow>, off<Tertiary::kIpiVirtualization>, kNeedsTprShadow, kSection},
    {"x2apic-mode-excludes-apic-accesses", F::kSecondaryProcBasedControls,
     on<Secondary::kVirtualizeX2apicMode>, off<Secondary::kVirtualizeApicAccesses>,
     "\"virtualize APIC accesses\" must be 0 if \"virtualize x2APIC mode\" is 1", kSection},
    {"virtual-interrupt-delivery-needs-interrupt-exiting", F::kPinBasedControls,
     on<Secondary::kVirtualInterruptDelivery>, on<Pin::kExternalInterruptExiting>,
     "\"external-interrupt exiting\" must be 1 if \"virtual-interrupt delivery\" is 1", kSection},
    {"posted-interrupts-need-virtual-interrupt-delivery", F::kSecondaryProcBasedControls,
     on<Pin::kProcessPostedInterrupts>, on<Secondary::kVirtualInterruptDelivery>,
     "\"virtual-interrupt delivery\" must be 1 if \"process posted interrupts\" is 1", kSection},
    {"posted-interrupts-need-acknowledge", F::kVmExitControls, on<Pin::kProcessPostedInterrupts>,
     on<VmExitControl::kAcknowledgeInterruptOnExit>,
     "\"acknowledge interrupt on exit\" must be 1 if \"process posted interrupts\" is 1", kSection},
    {"posted-interrupt-vector", F::kPostedInterruptNotificationVector,
     on<Pin::kProcessPostedInterrupts>, zero<15, 8>, "bits 15:8 must be 0", kSection},
    {"posted-interrupt-descriptor-alignment", F::kPostedInterruptDescriptorAddress,
     on<Pin::kProcessPostedInterrupts>, zero<5, 0>, "bits 5:0 must be 0", kSection},
    {"posted-interrupt-descriptor-width", F::kPostedInterruptDescriptorAddress,
     on<Pin::kProcessPostedInterrupts>, within_width, kWidth, kSection},
    {"pid-pointer-table-alignment", F::kPidPointerTableAddress, on<Tertiary::kIpiVirtualization>,
     zero<2, 0>, "bits 2:0 must be 0", kSection},
    {"pid-pointer-table-width", F::kPidPointerTableAddress, on<Tertiary::kIpiVirtualization>,
     within_width, kWidth, kSection},
    {"pid-pointer-table-end-width", F::kPidPointerTableAddress, on<Tertiary::kIpiVirtualization>,
     last_pid_pointer_within_width,
     "the address of the last entry must not exceed the physical-address width", kSection},
    {"vpid-zero", F::kVirtualProcessorIdentifier, on<Secondary::kEnableVpid>,
     [](Context c, Field f) { return c[f] != 0; }, "must not be 0000H if \"enable VPID\" is 1",
     kSection},
    {"eptp-memory-type", F::kEptPointer, on<Secondary::kEnableEpt>, eptp_memory_type,
     "bits 2:0 must be a memory type that IA32_VMX_EPT_VPID_CAP reports", kSection},
    {"eptp-walk-length", F::kEptPointer, on<Secondary::kEnableEpt>, eptp_walk_length,
     "bits 5:3 must be 1 less than a page-walk length that IA32_VMX_EPT_VPID_CAP reports",
     kSection},
    {"eptp-accessed-dirty", F::kEptPointer, on<Secondary::kEnableEpt>, eptp_accessed_dirty,
     "bit 6 must be 0: no accessed and dirty flags for EPT", kSection},
    {"eptp-reserved", F::kEptPointer, on<Secondary::kEnableEpt>, eptp_reserved,
     "bits 11:7 and bits beyond the physical-address width must be 0", kSection},
    {"pml-needs-ept", F::kSecondaryProcBasedControls, on<Secondary::kEnablePml>,
     on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"unrestricted-guest-needs-ept", F::kSecondaryProcBasedControls,
     on<Secondary::kUnrestrictedGuest>, on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"mode-based-execute-needs-ept", F::kSecondaryProcBasedControls,
     on<Secondary::kModeBasedExecuteControl>, on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"sub-page-write-needs-ept", F::kSecondaryProcBasedControls,
     on<Secondary::kSubPageWritePermissions>, on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"pt-guest-physical-needs-ept", F::kSecondaryProcBasedControls,
     on<Secondary::kPtUsesGuestPhysicalAddresses>, on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"hlat-needs-ept", F::kTertiaryProcBasedControls, on<Tertiary::kEnableHlat>,
     on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"paging-write-needs-ept", F::kTertiaryProcBasedControls, on<Tertiary::kEptPagingWriteControl>,
     on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"guest-paging-verification-needs-ept", F::kTertiaryProcBasedControls,
     on<Tertiary::kGuestPagingVerification>, on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"pml-alignment", F::kPmlAddress, on<Secondary::kEnablePml>, zero<11, 0>, kAligned4K, kSection},
    {"pml-width", F::kPmlAddress, on<Secondary::kEnablePml>, within_width, kWidth, kSection},
    {"spptp-alignment", F::kSubPagePermissionTablePointer, on<Secondary::kSubPageWritePermissions>,
     zero<11, 0>, kAligned4K, kSection},
    {"spptp-width", F::kSubPagePermissionTablePointer, on<Secondary::kSubPageWritePermissions>,
     within_width, kWidth, kSection},
    {"vm-functions-reserved", F::kVmFunctionControls, on<Secondary::kEnableVmFunctions>,
     as_offered<ControlGroup::kVmFunction>, kClearedBits, kSection},
    {"eptp-switching-needs-ept", F::kVmFunctionControls, on<VmFunction::kEptpSwitching>,
     on<Secondary::kEnableEpt>, kNeedsEpt, kSection},
    {"eptp-list-alignment", F::kEptpListAddress, on<VmFunction::kEptpSwitching>, zero<11, 0>,
     kAligned4K, kSection},
    {"eptp-list-width", F::kEptpListAddress, on<VmFunction::kEptpSwitching>, within_width, kWidth,
     kSection},
    {"vmread-bitmap-alignment", F::kVmreadBitmap, on<Secondary::kVmcsShadowing>, zero<11, 0>,
     kAligned4K, kSection},
    {"vmread-bitmap-width", F::kVmreadBitmap, on<Secondary::kVmcsShadowing>, within_width, kWidth,
     kSection},
    {"vmwrite-bitmap-alignment", F::kVmwriteBitmap, on<Secondary::kVmcsShadowing>, zero<11, 0>,
     kAligned4K, kSection},
    {"vmwrite-bitmap-width", F::kVmwriteBitmap, on<Secondary::kVmcsShadowing>, within_width, kWidth,
     kSection},
    {"ve-information-alignment", F::kVirtualizationExceptionInformationAddress,
     on<Secondary::kEptViolationVe>, zero<11, 0>, kAligned4K, kSection},
    {"ve-information-width", F::kVirtualizationExceptionInformationAddress,
     on<Secondary::kEptViolationVe>, within_width, kWidth, kSection},
    {"rtit-load-while-tracing", F::kVmEntryControls, [](Context c, Field) { return c.intel_pt_on; },
     off<VmEntryControl::kLoadRtitCtl>,
     "\"load IA32_RTIT_CTL\" must be 0 while Intel PT is enabled", kSection},
    {"pt-guest-physical-needs-rtit-load", F::kVmEntryControls,
     on<Secondary::kPtUsesGuestPhysicalAddresses>, on<VmEntryControl::kLoadRtitCtl>,
     "\"load IA32_RTIT_CTL\" must be 1 if \"Intel PT uses guest physical addresses\" is 1",
     kSection},
    {"pt-guest-physical-needs-rtit-clear", F::kVmExitControls,
     on<Secondary::kPtUsesGuestPhysicalAddresses>, on<VmExitControl::kClearRtitCtl>,
     "\"clear IA32_RTIT_CTL\" must be 1 if \"Intel PT uses guest physical addresses\" is 1",
     kSection},
    {"tsc-multiplier-zero", F::kTscMultiplier, on<Secondary::kUseTscScaling>,
     [](Context c, Field f) { return c[f] != 0; }, "must not be 0 if \"use TSC scaling\" is 1",
     kSection},
    {"hlatp-reserved", F::kHlatPointer, on<Tertiary::kEnableHlat>,
     [](Context c, Field f) { return zero<2, 0>(c, f) && zero<11, 5>(c, f) && within_width(c, f); },
     "bits 2:0, bits 11:5 and bits beyond the physical-address width must be 0", kSection},
    {"low-pasid-alignment", F::kLowPasidDirectoryAddress, on<Secondary::kPasidTranslation>,
     zero<11, 0>, kAligned4K, kSection},
    {"low-pasid-width", F::kLowPasidDirectoryAddress, on<Secondary::kPasidTranslation>,
     within_width, kWidth, kSection},
    {"high-pasid-alignment", F::kHighPasidDirectoryAddress, on<Secondary::kPasidTranslation>,
     zero<11, 0>, kAligned4K, kSection},
    {"high-pasid-width", F::kHighPasidDirectoryAddress, on<Secondary::kPasidTranslation>,
     within_width, kWidth, kSection},
};

}  // namespace

CheckTable execution_controls() { return table_of<kChecks>(); }

}  // namespace nestor::vmx::checks
