// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/instruction_errors.h"

#include <array>

namespace nestor::vmx {
namespace {

using enum InstructionError;
constexpr auto kErrors = std::to_array<InstructionErrorInfo>({
    {kVmcallInRootOperation, "VmcallInRootOperation", "VMCALL executed in VMX root operation"},
    {kVmclearInvalidAddress, "VmclearInvalidAddress", "VMCLEAR with invalid physical address"},
    {kVmclearVmxonPointer, "VmclearVmxonPointer", "VMCLEAR with VMXON pointer"},
    {kVmlaunchNonClear, "VmlaunchNonClear", "VMLAUNCH with non-clear VMCS"},
    {kVmresumeNonLaunched, "VmresumeNonLaunched", "VMRESUME with non-launched VMCS"},
    {kVmresumeAfterVmxoff, "VmresumeAfterVmxoff", "VMRESUME after VMXOFF"},
    {kEntryInvalidControls, "EntryInvalidControls", "VM entry with invalid control field(s)"},
    {kEntryInvalidHostState, "EntryInvalidHostState", "VM entry with invalid host-state field(s)"},
    {kVmptrldInvalidAddress, "VmptrldInvalidAddress", "VMPTRLD with invalid physical address"},
    {kVmptrldVmxonPointer, "VmptrldVmxonPointer", "VMPTRLD with VMXON pointer"},
    {kVmptrldIncorrectRevision, "VmptrldIncorrectRevision",
     "VMPTRLD with incorrect VMCS revision identifier"},
    {kUnsupportedComponent, "UnsupportedComponent",
     "VMREAD/VMWRITE from/to unsupported VMCS component"},
    {kVmwriteReadOnly, "VmwriteReadOnly", "VMWRITE to read-only VMCS component"},
    {kVmxonInRootOperation, "VmxonInRootOperation", "VMXON executed in VMX root operation"},
    {kEntryInvalidExecutivePointer, "EntryInvalidExecutivePointer",
     "VM entry with invalid executive-VMCS pointer"},
    {kEntryNonLaunchedExecutive, "EntryNonLaunchedExecutive",
     "VM entry with non-launched executive VMCS"},
    {kEntryExecutiveNotVmxon, "EntryExecutiveNotVmxon",
     "VM entry with executive-VMCS pointer not VMXON pointer"},
    {kVmcallNonClear, "VmcallNonClear", "VMCALL with non-clear VMCS"},
    {kVmcallInvalidExitControls, "VmcallInvalidExitControls",
     "VMCALL with invalid VM-exit control fields"},
    {kVmcallIncorrectMsegRevision, "VmcallIncorrectMsegRevision",
     "VMCALL with incorrect MSEG revision identifier"},
    {kVmxoffDualMonitor, "VmxoffDualMonitor",
     "VMXOFF under dual-monitor treatment of SMIs and SMM"},
    {kVmcallInvalidMonitorFeatures, "VmcallInvalidMonitorFeatures",
     "VMCALL with invalid SMM-monitor features"},
    {kEntryInvalidExecutiveControls, "EntryInvalidExecutiveControls",
     "VM entry with invalid VM-execution control fields in executive VMCS"},
    {kEntryBlockedByMovSs, "EntryBlockedByMovSs", "VM entry with events blocked by MOV SS"},
    {kInvalidInveptInvvpidOperand, "InvalidInveptInvvpidOperand",
     "Invalid operand to INVEPT/INVVPID"},
});

}  // namespace

std::span<const InstructionErrorInfo> instruction_errors() { return kErrors; }

std::string_view instruction_error_text(uint32_t number) {
  for (const InstructionErrorInfo& info : kErrors)
    if (static_cast<uint32_t>(info.number) == number) return info.text;
  return "unknown error";
}

}  // namespace nestor::vmx
