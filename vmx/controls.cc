// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/controls.h"

namespace nestor::vmx {
namespace {

template <Control C>
constexpr ControlName named(C control, std::string_view name) {
  return {mask(control), name};
}

constexpr ControlName kPin[] = {
    named(PinBased::kExternalInterruptExiting, "External-interrupt exiting"),
    named(PinBased::kNmiExiting, "NMI exiting"),
    named(PinBased::kVirtualNmis, "Virtual NMIs"),
    named(PinBased::kActivatePreemptionTimer, "Activate VMX-preemption timer"),
    named(PinBased::kProcessPostedInterrupts, "Process posted interrupts"),
};

constexpr ControlName kPrimary[] = {
    named(PrimaryProcBased::kInterruptWindowExiting, "Interrupt-window exiting"),
    named(PrimaryProcBased::kUseTscOffsetting, "Use TSC offsetting"),
    named(PrimaryProcBased::kHltExiting, "HLT exiting"),
    named(PrimaryProcBased::kInvlpgExiting, "INVLPG exiting"),
    named(PrimaryProcBased::kMwaitExiting, "MWAIT exiting"),
    named(PrimaryProcBased::kRdpmcExiting, "RDPMC exiting"),
    named(PrimaryProcBased::kRdtscExiting, "RDTSC exiting"),
    named(PrimaryProcBased::kCr3LoadExiting, "CR3-load exiting"),
    named(PrimaryProcBased::kCr3StoreExiting, "CR3-store exiting"),
    named(PrimaryProcBased::kActivateTertiaryControls, "Activate tertiary controls"),
    named(PrimaryProcBased::kCr8LoadExiting, "CR8-load exiting"),
    named(PrimaryProcBased::kCr8StoreExiting, "CR8-store exiting"),
    named(PrimaryProcBased::kUseTprShadow, "Use TPR shadow"),
    named(PrimaryProcBased::kNmiWindowExiting, "NMI-window exiting"),
    named(PrimaryProcBased::kMovDrExiting, "MOV-DR exiting"),
    named(PrimaryProcBased::kUnconditionalIoExiting, "Unconditional I/O exiting"),
    named(PrimaryProcBased::kUseIoBitmaps, "Use I/O bitmaps"),
    named(PrimaryProcBased::kMonitorTrapFlag, "Monitor trap flag"),
    named(PrimaryProcBased::kUseMsrBitmaps, "Use MSR bitmaps"),
    named(PrimaryProcBased::kMonitorExiting, "MONITOR exiting"),
    named(PrimaryProcBased::kPauseExiting, "PAUSE exiting"),
    named(PrimaryProcBased::kActivateSecondaryControls, "Activate secondary controls"),
};

constexpr ControlName kSecondary[] = {
    named(SecondaryProcBased::kVirtualizeApicAccesses, "Virtualize APIC accesses"),
    named(SecondaryProcBased::kEnableEpt, "Enable EPT"),
    named(SecondaryProcBased::kDescriptorTableExiting, "Descriptor-table exiting"),
    named(SecondaryProcBased::kEnableRdtscp, "Enable RDTSCP"),
    named(SecondaryProcBased::kVirtualizeX2apicMode, "Virtualize x2APIC mode"),
    named(SecondaryProcBased::kEnableVpid, "Enable VPID"),
    named(SecondaryProcBased::kWbinvdExiting, "WBINVD exiting"),
    named(SecondaryProcBased::kUnrestrictedGuest, "Unrestricted guest"),
    named(SecondaryProcBased::kApicRegisterVirtualization, "APIC-register virtualization"),
    named(SecondaryProcBased::kVirtualInterruptDelivery, "Virtual-interrupt delivery"),
    named(SecondaryProcBased::kPauseLoopExiting, "PAUSE-loop exiting"),
    named(SecondaryProcBased::kRdrandExiting, "RDRAND exiting"),
    named(SecondaryProcBased::kEnableInvpcid, "Enable INVPCID"),
    named(SecondaryProcBased::kEnableVmFunctions, "Enable VM functions"),
    named(SecondaryProcBased::kVmcsShadowing, "VMCS shadowing"),
    named(SecondaryProcBased::kEnableEnclsExiting, "Enable ENCLS exiting"),
    named(SecondaryProcBased::kRdseedExiting, "RDSEED exiting"),
    named(SecondaryProcBased::kEnablePml, "Enable PML"),
    named(SecondaryProcBased::kEptViolationVe, "EPT-violation #VE"),
    named(SecondaryProcBased::kConcealVmxFromPt, "Conceal VMX from PT"),
    named(SecondaryProcBased::kEnableXsavesXrstors, "Enable XSAVES/XRSTORS"),
    named(SecondaryProcBased::kPasidTranslation, "PASID translation"),
    named(SecondaryProcBased::kModeBasedExecuteControl, "Mode-based execute control for EPT"),
    named(SecondaryProcBased::kSubPageWritePermissions, "Sub-page write permissions for EPT"),
    named(SecondaryProcBased::kPtUsesGuestPhysicalAddresses,
          "Intel PT uses guest physical addresses"),
    named(SecondaryProcBased::kUseTscScaling, "Use TSC scaling"),
    named(SecondaryProcBased::kEnableUserWaitAndPause, "Enable user wait and pause"),
    named(SecondaryProcBased::kEnablePconfig, "Enable PCONFIG"),
    named(SecondaryProcBased::kEnableEnclvExiting, "Enable ENCLV exiting"),
    named(SecondaryProcBased::kVmmBusLockDetection, "VMM bus-lock detection"),
    named(SecondaryProcBased::kInstructionTimeout, "Instruction timeout"),
};

constexpr ControlName kTertiary[] = {
    named(TertiaryProcBased::kLoadiwkeyExiting, "LOADIWKEY exiting"),
    named(TertiaryProcBased::kEnableHlat, "Enable HLAT"),
    named(TertiaryProcBased::kEptPagingWriteControl, "EPT paging-write control"),
    named(TertiaryProcBased::kGuestPagingVerification, "Guest-paging verification"),
    named(TertiaryProcBased::kIpiVirtualization, "IPI virtualization"),
    named(TertiaryProcBased::kVirtualizeSpecCtrl, "Virtualize IA32_SPEC_CTRL"),
};

constexpr ControlName kExit[] = {
    named(VmExitControl::kSaveDebugControls, "Save debug controls"),
    named(VmExitControl::kHostAddressSpaceSize, "Host address-space size"),
    named(VmExitControl::kLoadPerfGlobalCtrl, "Load IA32_PERF_GLOBAL_CTRL"),
    named(VmExitControl::kAcknowledgeInterruptOnExit, "Acknowledge interrupt on exit"),
    named(VmExitControl::kSavePat, "Save IA32_PAT"),
    named(VmExitControl::kLoadPat, "Load IA32_PAT"),
    named(VmExitControl::kSaveEfer, "Save IA32_EFER"),
    named(VmExitControl::kLoadEfer, "Load IA32_EFER"),
    named(VmExitControl::kSavePreemptionTimerValue, "Save VMX-preemption timer value"),
    named(VmExitControl::kClearBndcfgs, "Clear IA32_BNDCFGS"),
    named(VmExitControl::kConcealVmxFromPt, "Conceal VMX from PT"),
    named(VmExitControl::kClearRtitCtl, "Clear IA32_RTIT_CTL"),
    named(VmExitControl::kClearLbrCtl, "Clear IA32_LBR_CTL"),
    named(VmExitControl::kClearUinv, "Clear UINV"),
    named(VmExitControl::kLoadCetState, "Load CET state"),
    named(VmExitControl::kLoadPkrs, "Load PKRS"),
    named(VmExitControl::kSavePerfGlobalCtrl, "Save IA32_PERF_GLOBAL_CTL"),
    named(VmExitControl::kActivateSecondaryControls, "Activate secondary controls"),
};

constexpr ControlName kSecondaryExit[] = {
    named(SecondaryVmExitControl::kPrematurelyBusyShadowStack, "Prematurely busy shadow stack"),
};

constexpr ControlName kEntry[] = {
    named(VmEntryControl::kLoadDebugControls, "Load debug controls"),
    named(VmEntryControl::kIa32eModeGuest, "IA-32e mode guest"),
    named(VmEntryControl::kEntryToSmm, "Entry to SMM"),
    named(VmEntryControl::kDeactivateDualMonitor, "Deactivate dual-monitor treatment"),
    named(VmEntryControl::kLoadPerfGlobalCtrl, "Load IA32_PERF_GLOBAL_CTRL"),
    named(VmEntryControl::kLoadPat, "Load IA32_PAT"),
    named(VmEntryControl::kLoadEfer, "Load IA32_EFER"),
    named(VmEntryControl::kLoadBndcfgs, "Load IA32_BNDCFGS"),
    named(VmEntryControl::kConcealVmxFromPt, "Conceal VMX from PT"),
    named(VmEntryControl::kLoadRtitCtl, "Load IA32_RTIT_CTL"),
    named(VmEntryControl::kLoadUinv, "Load UINV"),
    named(VmEntryControl::kLoadCetState, "Load CET state"),
    named(VmEntryControl::kLoadGuestLbrCtl, "Load guest IA32_LBR_CTL"),
    named(VmEntryControl::kLoadPkrs, "Load PKRS"),
};

constexpr ControlName kFunctions[] = {
    named(VmFunction::kEptpSwitching, "EPTP switching"),
};

struct Group {
  std::string_view name;
  std::span<const ControlName> controls;
};

// By ControlGroup.
constexpr Group kGroups[kControlGroupCount] = {
    {"Pin-based VM-execution controls", kPin},
    {"Primary processor-based VM-execution controls", kPrimary},
    {"Secondary processor-based VM-execution controls", kSecondary},
    {"Tertiary processor-based VM-execution controls", kTertiary},
    {"Primary VM-exit controls", kExit},
    {"Secondary VM-exit controls", kSecondaryExit},
    {"VM-entry controls", kEntry},
    {"VM-function controls", kFunctions},
};

}  // namespace

std::span<const ControlName> control_names(ControlGroup group) {
  return kGroups[static_cast<unsigned>(group)].controls;
}

std::string_view control_group_name(ControlGroup group) {
  return kGroups[static_cast<unsigned>(group)].name;
}

}  // namespace nestor::vmx
