// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest. Each VMCALL ends a step: L1 looks at what it has recorded, and goes on.
#include "guest-images/dirty-logging/guest_layout.h"

  .code64
  .text
  .global guest_entry
guest_entry:
  // One page is read, two are written, one of them twice.
  movl $GUEST_WINDOW, %ebx
  movq 0x3000(%rbx), %rax
  movq %rbx, 0x5000(%rbx)
  movq %rbx, 0x1000(%rbx)
  movq %rbx, 0x5008(%rbx)
  vmcall
  // The same page as before.
  movq %rax, 0x1000(%rbx)
  vmcall
  movq %rbx, 0x1000(%rbx)
  vmcall
  // All pages.
  movl $GUEST_WINDOW_PAGES, %ecx
write_next:
  movq %rcx, (%rbx)
  addq $0x1000, %rbx
  decl %ecx
  jnz write_next
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
