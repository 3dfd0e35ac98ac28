// SPDX-License-Identifier: GPL-2.0-or-later
//
// A kernel that switches four times to another task, which then uses the FPU.
#define CR0_TS (1 << 3)

  .code64
  .text
  .global guest_entry
guest_entry:
  xorl %ecx, %ecx
next_task:
  movq %cr0, %rax
  orl $CR0_TS, %eax
  movq %rax, %cr0
  incl %ecx
  clts
  cmpl $4, %ecx
  jne next_task
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
