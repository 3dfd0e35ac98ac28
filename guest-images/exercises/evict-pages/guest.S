// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2: three rounds over its window of GUEST_PAGES pages. Each page has a counter in its first word,
// and in its second the number of the page.
#include "guest-images/exercises/evict-pages/guest_layout.h"

  .code64
  .text
  .global guest_entry
guest_entry:
  movl $3, %ecx
1:
  movl $GUEST_WINDOW, %edi
  xorl %eax, %eax
2:
  incq (%rdi)
  movq %rax, 8(%rdi)
  addq $0x1000, %rdi
  incl %eax
  cmpl $GUEST_PAGES, %eax
  jne 2b
  decl %ecx
  jnz 1b

  // From the last page to the first, two pages in one instruction: the third word of the one is the
  // second word of the other.
  movl $GUEST_PAGES - 1, %ecx
3:
  movl %ecx, %eax
  shll $12, %eax
  leaq GUEST_WINDOW + 8(%rax), %rsi
  leaq GUEST_WINDOW - 0x1000 + 16(%rax), %rdi
  movsq
  loop 3b

  // RAX: the sum of the counters, RBX: of the second words, RDX: of the third ones.
  xorl %eax, %eax
  xorl %ebx, %ebx
  xorl %edx, %edx
  movl $GUEST_WINDOW, %edi
  movl $GUEST_PAGES, %ecx
4:
  addq (%rdi), %rax
  addq 8(%rdi), %rbx
  addq 16(%rdi), %rdx
  addq $0x1000, %rdi
  loop 4b
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
