// SPDX-License-Identifier: GPL-2.0-or-later
//
// void guest_launch(void): returns only if VMLAUNCH fails. VM exits arrive at exit_entry; the
// guest's registers lie on the stack as a GuestRegisters while handle_exit() runs.
  .code64
  .text
  .global guest_launch
guest_launch:
  vmlaunch
  ret

  .global exit_entry
exit_entry:
  pushq %r15
  pushq %r14
  pushq %r13
  pushq %r12
  pushq %r11
  pushq %r10
  pushq %r9
  pushq %r8
  pushq %rdi
  pushq %rsi
  pushq %rbp
  pushq %rbx
  pushq %rdx
  pushq %rcx
  pushq %rax
  movq %rsp, %rdi
  // 15 registers lie on the stack: one more makes it a multiple of 16.
  pushq $0
  call handle_exit
  addq $8, %rsp
  popq %rax
  popq %rcx
  popq %rdx
  popq %rbx
  popq %rbp
  popq %rsi
  popq %rdi
  popq %r8
  popq %r9
  popq %r10
  popq %r11
  popq %r12
  popq %r13
  popq %r14
  popq %r15
  vmresume
  call handle_failed_entry

  .section .note.GNU-stack, "", @progbits
