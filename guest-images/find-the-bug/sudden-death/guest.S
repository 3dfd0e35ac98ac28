// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads IA32_PAT, an MSR that no processor has, and IA32_SYSENTER_CS.
  .code64
  .text
  .global guest_entry
guest_entry:
  movl $0x277, %ecx
  rdmsr
  movl $0x12345, %ecx
  rdmsr
  movl $0x174, %ecx
  rdmsr
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
