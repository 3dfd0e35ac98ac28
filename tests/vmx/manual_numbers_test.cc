// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbers that the manual gives to every basic exit reason ("VMX Basic Exit Reasons") and every
// VM-instruction error ("VM Instruction Error Numbers").
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace nestor::vmx
