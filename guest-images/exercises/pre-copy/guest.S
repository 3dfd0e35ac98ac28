// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest: RCX times it writes RSI at RBX and goes on by RDX bytes, then it ends the round.
  .code64
  .text
  .global guest_entry
guest_entry:
  movq %rsi, (%rbx)
  addq %rdx, %rbx
  decq %rcx
  jnz guest_entry
  vmcall
  jmp guest_entry

  .section .note.GNU-stack, "", @progbits
