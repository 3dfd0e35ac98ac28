// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a start-up IPI begins: from real mode to 64-bit mode in one step, and on to C.
#include "guest-images/lib/selectors.h"
#include "guest-images/two-processors/shared.h"

#define CR0_PE_MP_ET_NE_PG 0x80000033
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

  // CS is START_UP_VECTOR * 100H, so addresses count from the start of the page.
#define OFFSET(label) ((label) - start_up_code)

  .section .rodata
  .global start_up_code
  .global start_up_code_end
  .global start_up_cr3
start_up_code:
  .code16
  cli
  cld
  movw %cs, %ax
  movw %ax, %ds
  lgdtl OFFSET(gdt_pointer)
  movl $CR4_PAE, %eax
  movl %eax, %cr4
  movl OFFSET(start_up_cr3), %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  // Protection and paging at once. This also turns the caches on, which INIT leaves off.
  movl $CR0_PE_MP_ET_NE_PG, %eax
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE64, $start_up64

  .balign 4
gdt_pointer:
  .word SELECTOR_TSS + 16 - 1
  .long boot_gdt
  .balign 4
start_up_cr3:  // filled in by the first processor
  .long 0
start_up_code_end:

  .code64
  .text
start_up64:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %fs
  movl %eax, %gs
  movl %eax, %ss
  // The IPI goes to all processors: the first one to come is the second processor, the others halt.
  movl $1, %eax
  lock xaddl %eax, start_ups
  testl %eax, %eax
  jnz 1f
  movq $second_stack_top, %rsp
  xorl %ebp, %ebp
  call second_processor
1:
  hlt
  jmp 1b

  .bss
  .balign 16
  .skip 16384
second_stack_top:

  .section .note.GNU-stack, "", @progbits
