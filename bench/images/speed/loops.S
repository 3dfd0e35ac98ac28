// SPDX-License-Identifier: GPL-2.0-or-later
#define COMPUTE_WORDS 4096
#define SIEVE_BYTES 8192
#define TOUCH_PAGES 16384
// A page and a cache line: pages of one offset would share one set of the host's cache.
#define TOUCH_STRIDE 4160
#define ONCE_BYTES 64

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

  .global loop_once
  .global loop_once_end
  .balign 64
loop_once:
  jmp 2f
  .balign 64
1:  // What is copied, ONCE_BYTES.
  movq (%rsi), %rcx
  leaq 7(%rcx, %rax, 2), %r8
  xorq %r8, %rcx
  movzbl 3(%rsi), %r9d
  addq %r9, %rax
  movq %rcx, (%rsi)
  testb $1, %cl
  jz 3f
  addq $0x1234567, %rax
  rolq $13, %rax
3:
  incq %rax
  jmp 4f
  .balign ONCE_BYTES
4:
2:
  xorl %eax, %eax
  movq %rax, (%rsi)
  leaq 1b(%rip), %r8
  leaq ONCE_BYTES(%rsi), %rdx
  movq %rdx, %r11
5:
  xorl %ecx, %ecx
6:
  movq (%r8, %rcx, 8), %r9
  movq %r9, (%rdx, %rcx, 8)
  incq %rcx
  cmpq $(ONCE_BYTES / 8), %rcx
  jb 6b
  addq $ONCE_BYTES, %rdx
  decq %rdi
  jnz 5b
  movl $0xe2ff41, (%rdx)  // jmp *%r10
  leaq 7f(%rip), %r10
  jmp *%r11
7:
  ret
loop_once_end:

  .section .note.GNU-stack, "", @progbits
