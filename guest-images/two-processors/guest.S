// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2. It does nothing but wait in three different ways: what ends the waiting comes from the other
// processor.
  .code64
  .text
  .global guest_entry
guest_entry:
  // Active, until the first VM exit was handled.
  movl $1, guest_stage
1:
  pause
  cmpl $1, exits_handled
  jb 1b

  // In the HLT state, with interrupts off: the VM exit needs no RFLAGS.IF.
  movl $2, guest_stage
  hlt

  movl $3, guest_stage
2:
  pause
  cmpl $3, exits_handled
  jb 2b
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
