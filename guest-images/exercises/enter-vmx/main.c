// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: bring the processor into VMX operation, and out of it again.
#include "guest-images/exercises/enter-vmx/exercise.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_controls.h"

VmxResult enter_vmx_operation(void* region) {
  // Your code. What must be so before VMXON, see Intel SDM, "Enabling and Entering VMX Operation"
  // and "Restrictions on VMX Operation":
  //   1. IA32_FEATURE_CONTROL (kMsrFeatureControl) is locked, with VMX outside SMX enabled.
  //   2. CR0 and CR4 have the bits that IA32_VMX_CR0_FIXED0 and its three relatives demand.
  //   3. The VMXON region begins with the VMCS revision identifier of IA32_VMX_BASIC.
  //   4. vmx_on() takes the physical address of the region; here it equals the pointer.
  // read_msr(), write_msr(), read_cr0() and so on are in lib/processor.h, the names of the MSRs and
  // VMX_BASIC_REVISION() in lib/vmx_controls.h.
  (void)region;
  return kVmFailInvalid;
}

VmxResult leave_vmx_operation(void) {
  // Your code: vmx_off(), then CR4.VMXE = 0.
  return kVmFailInvalid;
}
