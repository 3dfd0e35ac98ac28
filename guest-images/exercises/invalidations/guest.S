// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest. At guest_read it reads at RBX and at RCX, at guest_write it writes at RBX.
  .code64
  .text
  .global guest_read
  .global guest_write
guest_read:
  movq (%rbx), %rax
  movq (%rcx), %rdx
  vmcall
guest_write:
  movq %rbx, (%rbx)
  vmcall

  .section .note.GNU-stack, "", @progbits
