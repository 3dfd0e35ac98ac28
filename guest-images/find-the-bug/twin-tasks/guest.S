// SPDX-License-Identifier: GPL-2.0-or-later
//
// Task 0 writes 100 into its memory, task 1 writes 101 at the same address; then each looks what it
// finds: EBX of task 0, EDX of task 1. ESI is the address of task 0's PDPTEs, those of task 1 follow.
#include "guest-images/find-the-bug/twin-tasks/layout.h"

  .code32
  .text
  .global guest_entry
guest_entry:
  movl $TASK_MEMORY, %edi
  movl $100, (%edi)

  leal PDPT_BYTES(%esi), %eax
  movl %eax, %cr3
  movl $101, (%edi)

  movl %esi, %eax
  movl %eax, %cr3
  movl (%edi), %ebx

  leal PDPT_BYTES(%esi), %eax
  movl %eax, %cr3
  movl (%edi), %edx
  vmcall
  // L1 does not come back here.
  ud2

  .section .note.GNU-stack, "", @progbits
