// SPDX-License-Identifier: GPL-2.0-or-later
//
// L3: one CPUID, then one VMCALL with what CPUID gave it in RBX.
  .code64
  .text
  .global l3_entry
  .global l3_lost
l3_entry:
  movl $0x40000000, %eax
  cpuid
  vmcall
  ud2
l3_lost:
  movl $0x1057, %eax
  vmcall
  ud2

  .section .note.GNU-stack, "", @progbits
