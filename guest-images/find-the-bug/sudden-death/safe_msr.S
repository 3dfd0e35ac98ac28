// SPDX-License-Identifier: GPL-2.0-or-later
//
// bool read_msr_safely(uint32_t msr, uint64_t* value), and the handler of #GP that belongs to it.
  .code64
  .text
  .global read_msr_safely
read_msr_safely:
  movl %edi, %ecx
read_msr_instruction:
  rdmsr
  shlq $32, %rdx
  movl %eax, %eax
  orq %rdx, %rax
  movq %rax, (%rsi)
  movl $1, %eax
  ret
read_msr_refused:
  xorl %eax, %eax
  ret

  // Any other #GP is a mistake of L1.
  .global read_msr_fault
read_msr_fault:
  addq $8, %rsp  // the error code
  cmpq $read_msr_instruction, (%rsp)
  jne 1f
  movq $read_msr_refused, (%rsp)
  iretq
1:
  ud2

  .section .note.GNU-stack, "", @progbits
