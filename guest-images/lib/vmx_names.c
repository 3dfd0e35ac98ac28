// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/vmx_names.h"

#include <stddef.h>

static const char* const kExitReasonNames[] = {
    [0] = "Exception or non-maskable interrupt (NMI)",
    [1] = "External interrupt",
    [2] = "Triple fault",
    [3] = "INIT signal",
    [4] = "Start-up IPI (SIPI)",
    [7] = "Interrupt window",
    [8] = "NMI window",
    [9] = "Task switch",
    [10] = "CPUID",
    [12] = "HLT",
    [13] = "INVD",
    [14] = "INVLPG",
    [15] = "RDPMC",
    [16] = "RDTSC",
    [18] = "VMCALL",
    [19] = "VMCLEAR",
    [20] = "VMLAUNCH",
    [21] = "VMPTRLD",
    [23] = "VMREAD",
    [24] = "VMRESUME",
    [25] = "VMWRITE",
    [26] = "VMXOFF",
    [27] = "VMXON",
    [28] = "Control-register accesses",
    [29] = "MOV DR",
    [30] = "I/O instruction",
    [31] = "RDMSR",
    [32] = "WRMSR",
    [33] = "VM-entry failure due to invalid guest state",
    [34] = "VM-entry failure due to MSR loading",
    [36] = "MWAIT",
    [39] = "MONITOR",
    [40] = "PAUSE",
    [41] = "VM-entry failure due to machine-check event",
    [48] = "EPT violation",
    [49] = "EPT misconfiguration",
    [50] = "INVEPT",
    [51] = "RDTSCP",
    [52] = "VMX-preemption timer expired",
    [53] = "INVVPID",
    [54] = "WBINVD or WBNOINVD",
    [55] = "XSETBV",
    [62] = "Page-modification log full",
};

static const char* const kErrorNames[] = {
    [1] = "VMCALL executed in VMX root operation",
    [2] = "VMCLEAR with invalid physical address",
    [3] = "VMCLEAR with VMXON pointer",
    [4] = "VMLAUNCH with non-clear VMCS",
    [5] = "VMRESUME with non-launched VMCS",
    [7] = "VM entry with invalid control field(s)",
    [8] = "VM entry with invalid host-state field(s)",
    [9] = "VMPTRLD with invalid physical address",
    [10] = "VMPTRLD with VMXON pointer",
    [11] = "VMPTRLD with incorrect VMCS revision identifier",
    [12] = "VMREAD/VMWRITE from/to unsupported VMCS component",
    [13] = "VMWRITE to read-only VMCS component",
    [15] = "VMXON executed in VMX root operation",
    [26] = "VM entry with events blocked by MOV SS",
    [28] = "Invalid operand to INVEPT/INVVPID",
};

static const char* lookup(const char* const* names, size_t count, uint64_t index) {
  return index < count && names[index] ? names[index] : "reserved";
}

const char* exit_reason_name(uint32_t exit_reason) {
  return lookup(kExitReasonNames, sizeof kExitReasonNames / sizeof kExitReasonNames[0],
                exit_reason & 0xffff);
}

const char* vm_instruction_error_name(uint64_t error) {
  return lookup(kErrorNames, sizeof kErrorNames / sizeof kErrorNames[0], error);
}
