// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest, copied to GUEST_CODE. What it has read is in the registers at VMCALL.
#include "guest-images/exercises/shadow-fill/guest_layout.h"

  .code64
  .section .rodata
  .global guest_image
  .global guest_page_fault
  .global guest_image_end
guest_image:
  xorl %edi, %edi
  movq LINEAR_READ, %r8
  movq LINEAR_WRITTEN, %r9
  movq ENTRY_OF(LINEAR_WRITTEN), %r10
  movq $NEW_WORD, LINEAR_WRITTEN
  movq ENTRY_OF(LINEAR_WRITTEN), %r11
  movq LINEAR_MISSING, %r12
  movq $NEW_WORD, LINEAR_READ_ONLY
  vmcall
  ud2

  // RDI counts the page faults.
guest_page_fault:
  popq %rbx
  movq %cr2, %rax
  movl %edi, %ecx
  shll $4, %ecx
  movq %rax, GUEST_FAULTS(%rcx)
  movq %rbx, GUEST_FAULTS + 8(%rcx)
  incl %edi
  cmpl $4, %edi
  jae 2f
  testb $1, %bl
  jnz 1f
  movq $(GUEST_DATA + 0x2000 + 3), ENTRY_OF(LINEAR_MISSING)
  iretq
1:
  orq $2, ENTRY_OF(LINEAR_READ_ONLY)
  iretq
  // More than there should be.
2:
  vmcall
  ud2
guest_image_end:

  .section .note.GNU-stack, "", @progbits
