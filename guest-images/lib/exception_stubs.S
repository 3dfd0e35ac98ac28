// SPDX-License-Identifier: GPL-2.0-or-later
//
// One entry per exception vector; each leaves vector and error code on the stack (an
// ExceptionFrame) and calls exception_report(), which does not return.
  .code64
  .text

  // An error code is pushed by #DF, #TS, #NP, #SS, #GP, #PF, #AC and #CP; the others get a 0.

  .altmacro
  .macro exception_stub vector
exception_stub_\vector:
  .if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21)
  pushq $0
  .endif
  pushq $\vector
  jmp exception_common
  .endm

  .macro exception_address vector
  .quad exception_stub_\vector
  .endm

  .set vector, 0
  .rept 32
  exception_stub %vector
  .set vector, vector + 1
  .endr

exception_common:
  cld
  movq %rsp, %rdi
  andq $-16, %rsp
  call exception_report

  .section .rodata
  .balign 8
  .global exception_stub_addresses
exception_stub_addresses:
  .set vector, 0
  .rept 32
  exception_address %vector
  .set vector, vector + 1
  .endr

  .section .note.GNU-stack, "", @progbits
