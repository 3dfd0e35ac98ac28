// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2: boots like a boot sector and climbs to 64-bit mode. One CPUID in each mode tells L1 the
// stage.
#include "guest-images/abi/machine_ports.h"
#include "guest-images/real-mode-guest/guest_layout.h"

#define CR0_PE 0x1
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define PAGE_PRESENT 0x1
#define PAGE_PRESENT_WRITABLE 0x3
#define PAGE_PRESENT_WRITABLE_LARGE 0x83

#define SELECTOR_CODE32 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE64 0x18

  // Address of LABEL where L2 runs, and its offset in L2's real-mode segment.
#define LINEAR(label) (GUEST_BASE + (label) - guest_image)
#define OFFSET(label) ((label) - guest_image)

  .macro stage number
  movl $(GUEST_STAGE_LEAF + \number), %eax
  cpuid
  .endm

  .section .rodata
  .global guest_image
  .global guest_image_end
guest_image:
  .code16
  movw %cs, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw $0xfff0, %sp

  // Text, letter by letter, through a port.
  movw $OFFSET(message), %si
1:
  lodsb
  testb %al, %al
  jz 2f
  outb %al, $NESTOR_PORT_DEBUG_CONSOLE
  jmp 1b
2:
  stage 0

  // A software interrupt through the real-mode vector table at address 0.
  xorw %ax, %ax
  movw %ax, %es
  movw $OFFSET(interrupt_handler), %es:(4 * GUEST_VECTOR)
  movw %cs, %es:(4 * GUEST_VECTOR + 2)
  int $GUEST_VECTOR

  // Protected mode begins with this MOV; CS keeps its real-mode contents until the far jump.
  lgdtl OFFSET(gdt_pointer)
  movl %cr0, %eax
  orl $CR0_PE, %eax
  movl %eax, %cr0
  stage 1
  ljmpl $SELECTOR_CODE32, $LINEAR(protected_mode)

interrupt_handler:
  pushl %eax
  movl $GUEST_CALL_REAL_MODE, %eax
  vmcall
  popl %eax
  iretw

  .code32
protected_mode:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $GUEST_STACK_TOP, %esp
  stage 2

  // PAE paging: 2 MiB mapped to themselves by the first entry of one page directory.
  movl $(GUEST_PAGE_DIRECTORY + PAGE_PRESENT), GUEST_PAE_PDPT
  movl $PAGE_PRESENT_WRITABLE_LARGE, GUEST_PAGE_DIRECTORY
  movl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $GUEST_PAE_PDPT, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $CR0_PG, %eax
  movl %eax, %cr0
  stage 3

  // IA-32e mode can only be entered with paging off.
  movl %cr0, %eax
  andl $~CR0_PG, %eax
  movl %eax, %cr0
  movl $(GUEST_LONG_PDPT + PAGE_PRESENT_WRITABLE), GUEST_PML4
  movl $(GUEST_PAGE_DIRECTORY + PAGE_PRESENT_WRITABLE), GUEST_LONG_PDPT
  movl $GUEST_PML4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl %cr0, %eax
  orl $CR0_PG, %eax
  movl %eax, %cr0
  // Compatibility mode: IA-32e mode is active, the code segment is still the 32-bit one.
  stage 4
  ljmpl $SELECTOR_CODE64, $LINEAR(long_mode)

  .code64
long_mode:
  stage 5
  // Something that only 64-bit code can do: a value in the upper half of a register.
  movabsq $(GUEST_CALL_64BIT << 32 | GUEST_CALL_64BIT), %rax
  vmcall
  hlt
  // L1 does not come back here.
  ud2

message:
  .asciz "real mode\n"

  .balign 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff  // SELECTOR_CODE32
  .quad 0x00cf93000000ffff  // SELECTOR_DATA
  .quad 0x00af9b000000ffff  // SELECTOR_CODE64
gdt_end:
gdt_pointer:
  .word gdt_end - gdt - 1
  .long LINEAR(gdt)
guest_image_end:

  .section .note.GNU-stack, "", @progbits
