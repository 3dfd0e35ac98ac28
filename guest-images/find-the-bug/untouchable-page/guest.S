// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes to a page below 2 MiB and to three above, and reads them back; RCX counts those that hold
// what was written.
  .code64
  .text
  .global guest_entry
guest_entry:
  xorl %ecx, %ecx
  movl $0x80000, %ebx
  call test_page
  vmcall
  movl $0x400000, %ebx
  call test_page
  movl $0x600000, %ebx
  call test_page
  movl $0x800000, %ebx
  call test_page
  vmcall
  // L1 does not come back here.
  ud2

test_page:
  movq %rbx, (%rbx)
  cmpq %rbx, (%rbx)
  jne 1f
  incl %ecx
1:
  ret

  .section .note.GNU-stack, "", @progbits
