// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes into each page its own address, then counts in RBX the pages that still hold it.
#include "guest-images/find-the-bug/someone-elses-page/layout.h"

  .code64
  .text
  .global guest_entry
guest_entry:
  movl $PAGED_MEMORY, %esi
write_page:
  movq %rsi, (%rsi)
  addq $4096, %rsi
  cmpq $(PAGED_MEMORY + PAGES * 4096), %rsi
  jne write_page

  xorl %ebx, %ebx
  movl $PAGED_MEMORY, %esi
read_page:
  cmpq %rsi, (%rsi)
  jne 1f
  incl %ebx
1:
  addq $4096, %rsi
  cmpq $(PAGED_MEMORY + PAGES * 4096), %rsi
  jne read_page
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
