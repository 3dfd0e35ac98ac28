// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tests memory page by page: writes a word and reads it back. RCX counts the pages, RBX those that
// are good. After every 64 pages it reports to L1.
#include "guest-images/find-the-bug/broken-last-pages/layout.h"

  .code64
  .text
  .global guest_entry
guest_entry:
  xorl %ecx, %ecx
  xorl %ebx, %ebx
  movl $TESTED_MEMORY, %esi
test_page:
  movq %rsi, (%rsi)
  cmpq %rsi, (%rsi)
  jne 1f
  incl %ebx
1:
  addq $4096, %rsi
  incl %ecx
  testb $63, %cl
  jnz test_page
  vmcall
  jmp test_page

  .section .note.GNU-stack, "", @progbits
