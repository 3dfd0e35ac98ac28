// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hands its IA32_KERNEL_GS_BASE to L1 in RBX, and adds 1 to it, again and again.
  .code64
  .text
  .global guest_entry
guest_entry:
  movl $0xc0000102, %ecx
again:
  rdmsr
  movq %rdx, %rbx
  shlq $32, %rbx
  movl %eax, %eax
  orq %rax, %rbx
  vmcall
  incl %eax
  wrmsr
  jmp again

  .section .note.GNU-stack, "", @progbits
