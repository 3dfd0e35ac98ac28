// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest: reads the word in the window and hands it to L1, again and again.
#include "guest-images/missing-invept/guest_layout.h"

  .code64
  .text
  .global guest_entry
guest_entry:
  movl $GUEST_WINDOW, %ebx
read_again:
  movq (%rbx), %rax
  vmcall
  jmp read_again

  .section .note.GNU-stack, "", @progbits
