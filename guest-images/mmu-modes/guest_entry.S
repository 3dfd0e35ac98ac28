// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's way from a page fault to guest_page_fault(error_code, linear) and back.
  .code64
  .text
  .global guest_page_fault_entry
guest_page_fault_entry:
  pushq %rax
  pushq %rcx
  pushq %rdx
  pushq %rsi
  pushq %rdi
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  // The nine registers lie above RSP, and then the error code. Together with it and the frame of
  // five words: 15 words below an aligned address.
  movq 72(%rsp), %rdi
  movq %cr2, %rsi
  subq $8, %rsp
  call guest_page_fault
  addq $8, %rsp
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rdi
  popq %rsi
  popq %rdx
  popq %rcx
  popq %rax
  addq $8, %rsp
  iretq

  .section .note.GNU-stack, "", @progbits
