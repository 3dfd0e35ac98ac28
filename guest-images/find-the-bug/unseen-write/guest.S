// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sets up SYSCALL as a kernel does: IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK. RSI is what it
// wrote to IA32_LSTAR.
  .code64
  .text
  .global guest_entry
guest_entry:
  movl $0xc0000081, %ecx
  xorl %eax, %eax
  movl $0x00230010, %edx
  wrmsr

  movl $0xc0000082, %ecx
  leaq system_call(%rip), %rsi
  movl %esi, %eax
  xorl %edx, %edx
  wrmsr

  movl $0xc0000083, %ecx
  leaq compatibility_call(%rip), %rax
  wrmsr

  movl $0xc0000084, %ecx
  movl $0x47700, %eax
  wrmsr
  vmcall
  // L1 does not come back here.
  ud2

system_call:
  nop
compatibility_call:
  ud2

  .section .note.GNU-stack, "", @progbits
