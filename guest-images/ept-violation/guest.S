// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest, copied to GUEST_CODE: touches one page after the other. Between two VMCALLs lies
// one lesson; RAX of each VMCALL is a value that L2 read.
#include "guest-images/ept-violation/guest_layout.h"

  .code64
  .section .rodata
  .global guest_image
  .global guest_image_end
guest_image:
  // The fetch of this instruction is the first access of all.
  xorl %eax, %eax
  vmcall

  // Read, then write: a permission upgrade.
  movq TOUCH_DATA, %rax
  movq $WRITTEN_DATA, TOUCH_DATA
  vmcall

  // Read and write in one instruction.
  lock incq TOUCH_READ_MODIFY_WRITE
  movq TOUCH_READ_MODIFY_WRITE, %rax
  vmcall

  // The page is mapped for both by the read; the write must set the dirty flag in L2's page table.
  movq TOUCH_CLEAN_PAGE, %rax
  movq $WRITTEN_CLEAN_PAGE, TOUCH_CLEAN_PAGE
  vmcall

  // Read a page, then execute it.
  movq GUEST_SUBROUTINE, %rax
  movl $GUEST_SUBROUTINE, %ebx
  call *%rbx
  vmcall

  // Both touches lie in one page of 2 MiB.
  movq TOUCH_2M, %rax
  addq TOUCH_2M_END, %rax
  vmcall

  // In the second GiB, through another page directory.
  movq $WRITTEN_1G, TOUCH_1G
  movq TOUCH_1G, %rax
  vmcall

  movq TOUCH_MISTAKE, %rax
  vmcall

  // Second part: single touches of pages that are all mapped.
  movq TOUCH_DATA, %rax
  vmcall
  movq TOUCH_2M, %rax
  vmcall
  movq $WRITTEN_1G, TOUCH_1G
  movl $WRITTEN_1G, %eax
  vmcall
  // L1 does not come back here.
  ud2
guest_image_end:

  .section .note.GNU-stack, "", @progbits
