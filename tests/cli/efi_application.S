// SPDX-License-Identifier: GPL-2.0-or-later
// An EFI application, headers and all ("PE Format", "UEFI Specification: EFI_SYSTEM_TABLE"): prints
// on the console, and ends the run with 3. With the symbol VARIABLE it counts in a non-volatile
// variable, and ends the run with that number.
  .set image_size, 0x2000
  .code64
start:
  .ascii "MZ"
  .org 0x3c
  .long pe - start
pe:
  .ascii "PE\0\0"
  .word 0x8664          // x86-64
  .word 1               // sections
  .long 0, 0, 0
  .word sections - optional
  .word 0x22            // executable, with large addresses
optional:
  .word 0x20b           // PE32+
  .byte 0, 0
  .long 0x1000, 0, 0    // of code
  .long 0x1000          // the entry
  .long 0x1000
  .quad 0               // where it would like to be
  .long 0x1000, 0x200   // alignment in memory and in the file
  .word 0, 0, 0, 0, 0, 0
  .long 0
  .long image_size, 0x200, 0
  .word 10, 0           // an EFI application
  .quad 0, 0, 0, 0
  .long 0, 6            // data directories
  .fill 6, 8, 0
sections:
  .ascii ".text\0\0\0"
  .long 0x1000, 0x1000  // size and place in memory
  .long 0x200, 0x200    // and in the file
  .long 0, 0
  .word 0, 0
  .long 0x60000020      // code, to be read and executed
  .org 0x200
// EFI_STATUS entry(EFI_HANDLE rcx, EFI_SYSTEM_TABLE* rdx)
entry:
  .ifdef VARIABLE
  subq $88, %rsp
  movq 0x58(%rdx), %rbx    // RuntimeServices
  movl $0, 48(%rsp)        // the number, 0 if there is none
  movq $4, 56(%rsp)        // its size
  leaq name(%rip), %rcx
  leaq vendor(%rip), %rdx
  xorl %r8d, %r8d
  leaq 56(%rsp), %r9
  leaq 48(%rsp), %rax
  movq %rax, 32(%rsp)
  call *0x48(%rbx)         // GetVariable
  incl 48(%rsp)
  leaq name(%rip), %rcx
  leaq vendor(%rip), %rdx
  movl $7, %r8d            // non-volatile, for boot and runtime services
  movl $4, %r9d
  leaq 48(%rsp), %rax
  movq %rax, 32(%rsp)
  call *0x58(%rbx)         // SetVariable
  testq %rax, %rax
  jnz 1f
  movl 48(%rsp), %eax
1:
  outl %eax, $0xf4
  ud2
name:
  .word 'C', 'o', 'u', 'n', 't', 0
vendor:
  .long 0x4e657374
  .word 0x6f72, 0x4c31
  .byte 1, 2, 3, 4, 5, 6, 7, 8
  .endif
  subq $40, %rsp
  movq 0x40(%rdx), %rcx    // ConOut
  leaq text(%rip), %rdx
  call *8(%rcx)            // OutputString
  movl $1, %eax
  outl %eax, $0xf4
  ud2
text:
  .irpc c, "started by UEFI"
  .ascii "\c"
  .byte 0
  .endr
  .byte 13, 0, 10, 0, 0, 0
  .org 0x400
