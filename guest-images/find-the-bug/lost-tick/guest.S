// SPDX-License-Identifier: GPL-2.0-or-later
//
// An idle loop: RBX counts the ticks. Interrupts stay off from the look at the counter to HLT, so
// that no tick comes in between.
  .code64
  .text
  .global guest_entry
guest_entry:
  xorl %ebx, %ebx
idle:
  cli
  cmpl $3, %ebx
  jae awake
  sti
  hlt
  jmp idle
awake:
  vmcall
  // L1 does not come back here.
  ud2

  .global guest_timer_handler
guest_timer_handler:
  incl %ebx
  iretq

  .section .note.GNU-stack, "", @progbits
