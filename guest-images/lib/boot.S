// SPDX-License-Identifier: GPL-2.0-or-later
//
// Multiboot entry in 32-bit protected mode, climb to 64-bit mode, call image_start().
#include "guest-images/abi/boot_abi.h"
#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/selectors.h"

#define PAGE_PRESENT_WRITABLE 0x3
#define PAGE_LARGE 0x80
#define CR0_PE_MP_ET_NE_PG 0x80000033
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CPUID_EXTENDED_LM (1 << 29)

  .section .multiboot, "a"
  .balign 4
#define HEADER_FLAGS (NESTOR_MULTIBOOT1_FLAG_PAGE_ALIGN | NESTOR_MULTIBOOT1_FLAG_MEMORY_INFO)
  .long NESTOR_MULTIBOOT1_HEADER_MAGIC
  .long HEADER_FLAGS
  .long -(NESTOR_MULTIBOOT1_HEADER_MAGIC + HEADER_FLAGS)

  .text
  .code32
  .global boot_entry
boot_entry:
  cli
  cld
  movl $boot_stack_top, %esp
  movl %ebx, boot_information
  cmpl $NESTOR_MULTIBOOT1_BOOT_MAGIC, %eax
  jne machine_unfit

  movl $0x80000001, %eax
  cpuid
  testl $CPUID_EXTENDED_LM, %edx
  jz machine_unfit

  // Identity map of the first GiB: one PML4E, one PDPTE, 512 PDEs of 2 MiB.
  movl $(boot_pdpt + PAGE_PRESENT_WRITABLE), boot_pml4
  movl $(boot_pd + PAGE_PRESENT_WRITABLE), boot_pdpt
  movl $boot_pd, %edi
  movl $(PAGE_PRESENT_WRITABLE | PAGE_LARGE), %eax
  movl $512, %ecx
1:
  movl %eax, (%edi)
  addl $0x200000, %eax
  addl $8, %edi
  loop 1b

  movl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $boot_pml4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl $CR0_PE_MP_ET_NE_PG, %eax
  movl %eax, %cr0
  lgdt boot_gdt_pointer
  ljmp $SELECTOR_CODE64, $boot_entry64

// Neither a Multiboot loader nor a 64-bit processor: there is no console yet to say so.
machine_unfit:
  movl $NESTOR_EXIT_MACHINE_LACKS_FEATURE, %eax
  outl %eax, $NESTOR_PORT_DEBUG_EXIT
2:
  hlt
  jmp 2b

  .code64
boot_entry64:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %fs
  movl %eax, %gs
  movl %eax, %ss
  movq $boot_stack_top, %rsp
  xorl %ebp, %ebp
  call image_start
3:
  hlt
  jmp 3b

  .data
  .balign 8
  .global boot_gdt
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff  // SELECTOR_CODE64
  .quad 0x00cf93000000ffff  // SELECTOR_DATA
  .quad 0x00cf9b000000ffff  // SELECTOR_CODE32
  .quad 0, 0                // SELECTOR_TSS, written by descriptor_tables_load()
boot_gdt_end:

  .balign 8
  .word 0
boot_gdt_pointer:
  .word boot_gdt_end - boot_gdt - 1
  .quad boot_gdt

  .bss
  // Physical address of the Multiboot information.
  .balign 4
  .global boot_information
boot_information:
  .skip 4

  .balign 4096
boot_pml4:
  .skip 4096
boot_pdpt:
  .skip 4096
boot_pd:
  .skip 4096
  .skip 16384
boot_stack_top:

  .section .note.GNU-stack, "", @progbits
