// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, gives to check.c, which calls it.
#pragma once

#include "guest-images/lib/vmx_instructions.h"

// Makes the processor ready and executes VMXON with REGION, a page of zeros. Returns what VMXON
// reported.
VmxResult enter_vmx_operation(void* region);

// Executes VMXOFF and makes CR4.VMXE 0 again. Returns what VMXOFF reported.
VmxResult leave_vmx_operation(void);
