// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: what a hypervisor does for a guest that is a hypervisor, too.
#include "guest-images/exercises/nested-vmx/exercise.h"
#include "guest-images/lib/vmcs.h"

VmxResult emulate_vmptrld(VirtualProcessor* processor, uint64_t address) {
  // Your code. What can fail, and with which error, in this order: the address is no multiple of
  // 4096; it is the VMXON pointer; the page has another revision identifier. See the manual's page
  // of VMPTRLD.
  (void)processor;
  (void)address;
  return kVmFailInvalid;
}

VmxResult emulate_vmwrite(VirtualProcessor* processor, uint64_t encoding, uint64_t value) {
  // Your code. Without a current VMCS: VMfailInvalid. A field may not be supported, or be
  // read-only, as bits 11:10 of its encoding say: Intel SDM, "VMREAD, VMWRITE, and Encodings of
  // VMCS Fields".
  (void)processor;
  (void)encoding;
  (void)value;
  return kVmFailInvalid;
}

VmxResult emulate_vmread(VirtualProcessor* processor, uint64_t encoding, uint64_t* value) {
  // Your code.
  (void)processor;
  (void)encoding;
  (void)value;
  return kVmFailInvalid;
}

void prepare_vmcs02(Vmcs12* vmcs12) {
  // Your code: vmcs_write() gives the processor what L2 has written about L3, which is kGuestRip,
  // kGuestRsp and kGuestRflags.
  (void)vmcs12;
}

void save_exit(Vmcs12* vmcs12) {
  // Your code: vmcs_read() has where L3 stopped and why. L2 wants to find it in VMCS12: the three
  // fields of before, and kExitReason, kExitQualification and kVmExitInstructionLength.
  (void)vmcs12;
}
