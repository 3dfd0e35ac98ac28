// SPDX-License-Identifier: GPL-2.0-or-later
#define COMPUTE_WORDS 4096
#define SIEVE_BYTES 8192
#define TOUCH_PAGES 16384
// A page and a cache line: pages of one offset would share one set of the host's cache.
#define TOUCH_STRIDE 4160

  .text
  .global loop_compute
  .global loop_compute_end
  .balign 64
loop_compute:
  movabsq $0x9e3779b97f4a7c15, %r8
  movq %r8, %rax
  xorl %ecx, %ecx
1:
  imulq %r8, %rax
  addq $0x1234567, %rax
  movq %rax, %rdx
  shrq $33, %rdx
  andl $(COMPUTE_WORDS - 1), %edx
  movq (%rsi, %rdx, 8), %r9
  xorq %rax, %r9
  rolq $13, %r9
  addq %r9, %rcx
  movq %r9, (%rsi, %rdx, 8)
  testb $1, %cl
  jz 2f
  leaq 7(%rax, %rcx), %rax
2:
  decq %rdi
  jnz 1b
  movq %rcx, %rax
  ret
loop_compute_end:

  .global loop_sieve
  .global loop_sieve_end
  .balign 64
loop_sieve:
  xorl %ecx, %ecx
1:
  movb $1, (%rsi, %rcx)
  incq %rcx
  cmpq $SIEVE_BYTES, %rcx
  jb 1b
  xorl %eax, %eax
  movl $2, %ecx
2:
  cmpb $0, (%rsi, %rcx)
  je 5f
  incq %rax
  leaq (%rcx, %rcx), %rdx
  jmp 4f
3:
  movb $0, (%rsi, %rdx)
  addq %rcx, %rdx
4:
  cmpq $SIEVE_BYTES, %rdx
  jb 3b
5:
  incq %rcx
  cmpq $SIEVE_BYTES, %rcx
  jb 2b
  decq %rdi
  jnz loop_sieve
  ret
loop_sieve_end:

  .global loop_touch
  .global loop_touch_end
  .balign 64
loop_touch:
  xorl %eax, %eax
1:
  movq %rsi, %rdx
  movl $TOUCH_PAGES, %ecx
2:
  addq (%rdx), %rax
  addq $TOUCH_STRIDE, %rdx
  decl %ecx
  jnz 2b
  decq %rdi
  jnz 1b
  ret
loop_touch_end:

  .section .note.GNU-stack, "", @progbits
