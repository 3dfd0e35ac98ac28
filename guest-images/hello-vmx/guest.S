// SPDX-License-Identifier: GPL-2.0-or-later
//
// The whole L2 guest: asks the processor who it is, and tells L1 what it heard.
  .code64
  .text
  .global guest_entry
guest_entry:
  movl $0x40000000, %eax
  xorl %ecx, %ecx
  cpuid
  // RBX, RCX, RDX now hold the 12 letters that L1 put there.
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
