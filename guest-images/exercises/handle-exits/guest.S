// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2: asks its machine for this and that, and writes down what it got in guest_saw.
#include "guest-images/exercises/handle-exits/guest_ports.h"

  .code64
  .text
  .global guest_entry
  .global guest_halted
guest_entry:
  leaq guest_saw(%rip), %rdi

  movl $0x40000000, %eax
  xorl %ecx, %ecx
  cpuid
  movl %eax, 0(%rdi)
  movl %ebx, 4(%rdi)
  movl %ecx, 8(%rdi)
  movl %edx, 12(%rdi)

  movl $1, %eax
  xorl %ecx, %ecx
  cpuid
  movl %eax, 16(%rdi)
  movl %ecx, 20(%rdi)
  movl %edx, 24(%rdi)

  // OUT with the port in the instruction is two bytes long.
  leaq guest_text(%rip), %rsi
1:
  lodsb
  testb %al, %al
  jz 2f
  outb %al, $PORT_CONSOLE
  jmp 1b
2:
  // IN with the port in DX is one byte long.
  movabsq $RAX_BEFORE_IN, %rax
  movl $PORT_STATUS, %edx
  inb %dx, %al
  movq %rax, 32(%rdi)

  movabsq $RAX_BEFORE_IN, %rax
  movl $PORT_MISSING, %edx
  inw %dx, %ax
  movq %rax, 40(%rdi)

  movabsq $RAX_BEFORE_IN, %rax
  inl %dx, %eax
  movq %rax, 48(%rdi)

  hlt
guest_halted:
  // L1 does not come back here.
  ud2

guest_text:
  .asciz "L2 says hello"

  .bss
  .balign 8
  .global guest_saw
guest_saw:
  .skip 56

  .section .note.GNU-stack, "", @progbits
