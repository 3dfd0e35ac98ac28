// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/assembled_code.inc"

  // x87 and SSE registers, MXCSR, random numbers and the time, all of which the exit status
  // depends on.
  code use_registers
    movq %cr4, %rax
    orl $0x200, %eax
    movq %rax, %cr4
    fldpi
    fldl2e
    fld1
    movl $0x3f80, 0x80000
    ldmxcsr 0x80000
    movl $0x3f800001, 0x80008
    movss 0x80008, %xmm1
    movss %xmm1, %xmm15
    xorl %ebx, %ebx
    movl $25, %ecx
1:  fadd %st(1), %st
    mulss %xmm1, %xmm15
    rdrand %rax
    xorl %eax, %ebx
    rdtsc
    addl %eax, %ebx
    stmxcsr 0x80010
    addl 0x80010, %ebx
    loop 1b
    fstpl 0x80018
    fstpl 0x80020
    fnstsw %ax
    addl 0x80018, %ebx
    addl 0x80020, %ebx
    addl %eax, %ebx
    movss %xmm15, 0x80028
    addl 0x80028, %ebx
    movl %ebx, %eax
    shrl $8, %eax
    xorl %ebx, %eax
    andl $0x3f, %eax
    outl %eax, $0xf4
  end_code

  // Sleeps until the timer has interrupted it 16 times; r8 counts in the handler. Each time its own
  // code is changed and a trap is taken.
  code sleep_and_trap
1:  sti
    hlt
    incl 3f + 1(%rip)
    pushfq
    orl $0x100, (%rsp)
    popfq
3:  movl $1, %eax
    pushfq
    andl $0xfffffeff, (%rsp)
    popfq
    cmpl $16, %r8d
    jb 1b
    outl %eax, $0xf4
  end_code

  code count_interrupt
    incl %r8d
    movl $0xfee000b0, %edx
    movl $0, (%rdx)
    iretq
  end_code

  code return_from_trap
    incl %r9d
    iretq
  end_code

  // L2: writes to a page after another, and exits now and then.
  code write_pages
    movl $0x20000, %edi
1:  movl %edi, (%rdi)
    pause
    addl $0x1000, %edi
    testl $0x1000, %edi
    jnz 2f
    cpuid
    movl $0x20000, %edx
2:  cmpl $0x2c000, %edi
    jb 1b
    vmcall
    hlt
  end_code

  // L1: goes on behind CPUID, ends the run at VMCALL, and otherwise just resumes.
  code resume_behind_cpuid
    movl $0x4402, %ecx
    vmread %rcx, %rdx
    cmpl $18, %edx
    je 2f
    cmpl $10, %edx
    jne 1f
    movl $0x681e, %ecx
    vmread %rcx, %rdx
    addl $2, %edx
    vmwrite %rdx, %rcx
1:  movl $0x4826, %ecx
    xorl %edx, %edx
    vmwrite %rdx, %rcx
    vmresume
2:  movl %edi, %eax
    outl %eax, $0xf4
  end_code
