// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbers that the manual gives to every basic exit reason ("VMX Basic Exit Reasons"), every
// VM-instruction error ("VM Instruction Error Numbers") and every control.
#include <gtest/gtest.h>

#include <iterator>
#include <vector>

#include "vmx/controls.h"
#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::vmx {
namespace {

// By number; nullptr: there is none.
constexpr const char* kReasons[] = {"ExceptionOrNmi",
                                    "ExternalInterrupt",
                                    "TripleFault",
                                    "InitSignal",
                                    "Sipi",
                                    "IoSmi",
                                    "OtherSmi",
                                    "InterruptWindow",
                                    "NmiWindow",
                                    "TaskSwitch",
                                    "Cpuid",
                                    "Getsec",
                                    "Hlt",
                                    "Invd",
                                    "Invlpg",
                                    "Rdpmc",
                                    "Rdtsc",
                                    "Rsm",
                                    "Vmcall",
                                    "Vmclear",
                                    "Vmlaunch",
                                    "Vmptrld",
                                    "Vmptrst",
                                    "Vmread",
                                    "Vmresume",
                                    "Vmwrite",
                                    "Vmxoff",
                                    "Vmxon",
                                    "ControlRegisterAccess",
                                    "MovDr",
                                    "IoInstruction",
                                    "Rdmsr",
                                    "Wrmsr",
                                    "EntryFailureGuestState",
                                    "EntryFailureMsrLoading",
                                    nullptr,
                                    "Mwait",
                                    "MonitorTrapFlag",
                                    nullptr,
                                    "Monitor",
                                    "Pause",
                                    "EntryFailureMachineCheck",
                                    nullptr,
                                    "TprBelowThreshold",
                                    "ApicAccess",
                                    "VirtualizedEoi",
                                    "GdtrIdtrAccess",
                                    "LdtrTrAccess",
                                    "EptViolation",
                                    "EptMisconfiguration",
                                    "Invept",
                                    "Rdtscp",
                                    "PreemptionTimerExpired",
                                    "Invvpid",
                                    "Wbinvd",
                                    "Xsetbv",
                                    "ApicWrite",
                                    "Rdrand",
                                    "Invpcid",
                                    "Vmfunc",
                                    "Encls",
                                    "Rdseed",
                                    "PmlFull",
                                    "Xsaves",
                                    "Xrstors",
                                    "Pconfig",
                                    "SppRelatedEvent",
                                    "Umwait",
                                    "Tpause",
                                    "Loadiwkey",
                                    "Enclv",
                                    nullptr,
                                    "EnqcmdPasidTranslationFailure",
                                    "EnqcmdsPasidTranslationFailure",
                                    "BusLock",
                                    "InstructionTimeout",
                                    "Seamcall",
                                    "Tdcall"};

TEST(ManualNumbers, ExitReasons) {
  uint16_t number = 0;
  for (const char* identifier : kReasons) {
    const ExitReasonInfo* info = find_exit_reason(number);
    ASSERT_EQ(info == nullptr, identifier == nullptr) << number;
    if (info != nullptr) {
      EXPECT_EQ(info->identifier, identifier) << number;
    }
    ++number;
  }
  EXPECT_EQ(exit_reasons().back().reason, ExitReason{77});
}

constexpr const char* kErrors[] = {
    nullptr,
    "VMCALL executed in VMX root operation",
    "VMCLEAR with invalid physical address",
    "VMCLEAR with VMXON pointer",
    "VMLAUNCH with non-clear VMCS",
    "VMRESUME with non-launched VMCS",
    "VMRESUME after VMXOFF",
    "VM entry with invalid control field(s)",
    "VM entry with invalid host-state field(s)",
    "VMPTRLD with invalid physical address",
    "VMPTRLD with VMXON pointer",
    "VMPTRLD with incorrect VMCS revision identifier",
    "VMREAD/VMWRITE from/to unsupported VMCS component",
    "VMWRITE to read-only VMCS component",
    nullptr,
    "VMXON executed in VMX root operation",
    "VM entry with invalid executive-VMCS pointer",
    "VM entry with non-launched executive VMCS",
    "VM entry with executive-VMCS pointer not VMXON pointer",
    "VMCALL with non-clear VMCS",
    "VMCALL with invalid VM-exit control fields",
    nullptr,
    "VMCALL with incorrect MSEG revision identifier",
    "VMXOFF under dual-monitor treatment of SMIs and SMM",
    "VMCALL with invalid SMM-monitor features",
    "VM entry with invalid VM-execution control fields in executive VMCS",
    "VM entry with events blocked by MOV SS",
    nullptr,
    "Invalid operand to INVEPT/INVVPID"};

TEST(ManualNumbers, VmInstructionErrors) {
  uint32_t number = 0;
  for (const char* text : kErrors) {
    EXPECT_EQ(instruction_error_text(number), text != nullptr ? text : "unknown error") << number;
    ++number;
  }
  EXPECT_EQ(instruction_errors().back().number, InstructionError{28});
}

// The tables of definitions of the controls: bit and name.
struct ControlBit {
  unsigned bit;
  const char* name;
};
struct ControlField {
  ControlGroup group;
  const char* name;
  std::vector<ControlBit> bits;
};
const ControlField kControlFields[] = {
    {ControlGroup::kPinBased,
     "Pin-based VM-execution controls",
     {{0, "External-interrupt exiting"},
      {3, "NMI exiting"},
      {5, "Virtual NMIs"},
      {6, "Activate VMX-preemption timer"},
      {7, "Process posted interrupts"}}},
    {ControlGroup::kPrimaryProcBased,
     "Primary processor-based VM-execution controls",
     {{2, "Interrupt-window exiting"},
      {3, "Use TSC offsetting"},
      {7, "HLT exiting"},
      {9, "INVLPG exiting"},
      {10, "MWAIT exiting"},
      {11, "RDPMC exiting"},
      {12, "RDTSC exiting"},
      {15, "CR3-load exiting"},
      {16, "CR3-store exiting"},
      {17, "Activate tertiary controls"},
      {19, "CR8-load exiting"},
      {20, "CR8-store exiting"},
      {21, "Use TPR shadow"},
      {22, "NMI-window exiting"},
      {23, "MOV-DR exiting"},
      {24, "Unconditional I/O exiting"},
      {25, "Use I/O bitmaps"},
      {27, "Monitor trap flag"},
      {28, "Use MSR bitmaps"},
      {29, "MONITOR exiting"},
      {30, "PAUSE exiting"},
      {31, "Activate secondary controls"}}},
    {ControlGroup::kSecondaryProcBased,
     "Secondary processor-based VM-execution controls",
     {{0, "Virtualize APIC accesses"},
      {1, "Enable EPT"},
      {2, "Descriptor-table exiting"},
      {3, "Enable RDTSCP"},
      {4, "Virtualize x2APIC mode"},
      {5, "Enable VPID"},
      {6, "WBINVD exiting"},
      {7, "Unrestricted guest"},
      {8, "APIC-register virtualization"},
      {9, "Virtual-interrupt delivery"},
      {10, "PAUSE-loop exiting"},
      {11, "RDRAND exiting"},
      {12, "Enable INVPCID"},
      {13, "Enable VM functions"},
      {14, "VMCS shadowing"},
      {15, "Enable ENCLS exiting"},
      {16, "RDSEED exiting"},
      {17, "Enable PML"},
      {18, "EPT-violation #VE"},
      {19, "Conceal VMX from PT"},
      {20, "Enable XSAVES/XRSTORS"},
      {21, "PASID translation"},
      {22, "Mode-based execute control for EPT"},
      {23, "Sub-page write permissions for EPT"},
      {24, "Intel PT uses guest physical addresses"},
      {25, "Use TSC scaling"},
      {26, "Enable user wait and pause"},
      {27, "Enable PCONFIG"},
      {28, "Enable ENCLV exiting"},
      {30, "VMM bus-lock detection"},
      {31, "Instruction timeout"}}},
    {ControlGroup::kTertiaryProcBased,
     "Tertiary processor-based VM-execution controls",
     {{0, "LOADIWKEY exiting"},
      {1, "Enable HLAT"},
      {2, "EPT paging-write control"},
      {3, "Guest-paging verification"},
      {4, "IPI virtualization"},
      {7, "Virtualize IA32_SPEC_CTRL"}}},
    {ControlGroup::kVmExit,
     "Primary VM-exit controls",
     {{2, "Save debug controls"},
      {9, "Host address-space size"},
      {12, "Load IA32_PERF_GLOBAL_CTRL"},
      {15, "Acknowledge interrupt on exit"},
      {18, "Save IA32_PAT"},
      {19, "Load IA32_PAT"},
      {20, "Save IA32_EFER"},
      {21, "Load IA32_EFER"},
      {22, "Save VMX-preemption timer value"},
      {23, "Clear IA32_BNDCFGS"},
      {24, "Conceal VMX from PT"},
      {25, "Clear IA32_RTIT_CTL"},
      {26, "Clear IA32_LBR_CTL"},
      {27, "Clear UINV"},
      {28, "Load CET state"},
      {29, "Load PKRS"},
      {30, "Save IA32_PERF_GLOBAL_CTL"},
      {31, "Activate secondary controls"}}},
    {ControlGroup::kSecondaryVmExit,
     "Secondary VM-exit controls",
     {{3, "Prematurely busy shadow stack"}}},
    {ControlGroup::kVmEntry,
     "VM-entry controls",
     {{2, "Load debug controls"},
      {9, "IA-32e mode guest"},
      {10, "Entry to SMM"},
      {11, "Deactivate dual-monitor treatment"},
      {13, "Load IA32_PERF_GLOBAL_CTRL"},
      {14, "Load IA32_PAT"},
      {15, "Load IA32_EFER"},
      {16, "Load IA32_BNDCFGS"},
      {17, "Conceal VMX from PT"},
      {18, "Load IA32_RTIT_CTL"},
      {19, "Load UINV"},
      {20, "Load CET state"},
      {21, "Load guest IA32_LBR_CTL"},
      {22, "Load PKRS"}}},
    {ControlGroup::kVmFunction, "VM-function controls", {{0, "EPTP switching"}}},
};

TEST(ManualNumbers, Controls) {
  static_assert(std::size(kControlFields) == kControlGroupCount);
  for (const ControlField& field : kControlFields) {
    EXPECT_EQ(control_group_name(field.group), field.name);
    const auto names = control_names(field.group);
    ASSERT_EQ(names.size(), field.bits.size()) << field.name;
    for (size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(names[i].name, field.bits[i].name);
      EXPECT_EQ(names[i].mask, uint64_t{1} << field.bits[i].bit) << names[i].name;
    }
  }
}

}  // namespace
}  // namespace nestor::vmx
