// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2, copied to GUEST_CODE: reads the word at RSI.
  .code64
  .section .rodata
  .global guest_image
  .global guest_image_end
guest_image:
  movq (%rsi), %rax
  vmcall
  // L1 sets RIP back.
  ud2
guest_image_end:

  .section .note.GNU-stack, "", @progbits
