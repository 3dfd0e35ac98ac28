// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/assembled_code.inc"

  // Starts all timers, halts, and writes to the debug console what all clocks show once r13 has
  // come to r8, then each r9 later, r10 times. RBX: the local APIC. Handlers count: r12 the 8254,
  // r13 the APIC timer, r14 the HPET, r15 the RTC, rbp the PM timer.
  code compare_clocks
    movb $0x11, %al
    outb %al, $0x20
    outb %al, $0xa0
    movb $0x20, %al
    outb %al, $0x21
    movb $0x28, %al
    outb %al, $0xa1
    movb $4, %al
    outb %al, $0x21
    movb $2, %al
    outb %al, $0xa1
    movb $1, %al
    outb %al, $0x21
    outb %al, $0xa1
    movb $0xfa, %al               // IRQ 0, the second one and IRQ 8
    outb %al, $0x21
    movb $0xfe, %al
    outb %al, $0xa1
    movb $0x34, %al               // 8254, channel 0: mode 2, a count of 65536
    outb %al, $0x43
    xorl %eax, %eax
    outb %al, $0x40
    outb %al, $0x40
    movb $0xa, %al                // RTC: a periodic interrupt of 2 Hz
    outb %al, $0x70
    movb $0x2f, %al
    outb %al, $0x71
    movb $0xb, %al
    outb %al, $0x70
    movb $0x42, %al
    outb %al, $0x71
    movl $0xfed00000, %edi        // HPET, timer 0: each second, line 20
    movq $0x284c, 0x100(%rdi)
    movq $100000000, 0x108(%rdi)
    movq $1, 0x10(%rdi)
    movl $0xfec00000, %esi        // I/O APIC: line 20, an edge; line 9, a level
    movl $0x39, (%rsi)
    movl $0, 0x10(%rsi)
    movl $0x38, (%rsi)
    movl $0x41, 0x10(%rsi)
    movl $0x23, (%rsi)
    movl $0, 0x10(%rsi)
    movl $0x22, (%rsi)
    movl $0x8042, 0x10(%rsi)
    movl $0x602, %edx             // TMR_EN
    movl $1, %eax
    outw %ax, %dx
    movl $0x1ff, 0xf0(%rbx)
    movl $0xa, 0x3e0(%rbx)        // the APIC timer, by 128: each 10 seconds
    movl $0x20040, 0x320(%rbx)
    movl $156250000, 0x380(%rbx)
2:  sti
    hlt
    cli
    cmpq %r8, %r13
    jb 2b
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, 0x80000
    movq 0xf0(%rdi), %rax
    movq %rax, 0x80008
    movl $0x608, %edx
    inl %dx, %eax
    movq %rax, 0x80010
    movl 0x390(%rbx), %eax
    movq %rax, 0x80018
    xorl %eax, %eax               // latch
    outb %al, $0x43
    inb $0x40, %al
    movb %al, %cl
    inb $0x40, %al
    movb %al, %ch
    movzwl %cx, %ecx
    movq %rcx, 0x80020
    xorl %ecx, %ecx               // seconds, minutes, hours, day
3:  movb %cl, %al
    cmpb $6, %al
    jne 4f
    movb $7, %al
4:  outb %al, $0x70
    inb $0x71, %al
    movl %ecx, %edx
    shrl $1, %edx
    movb %al, 0x80028(%rdx)
    addl $2, %ecx
    cmpl $8, %ecx
    jne 3b
    movq %r12, 0x80030
    movq %r13, 0x80038
    movq %r14, 0x80040
    movq %r15, 0x80048
    movq %rbp, 0x80050
    movl $0x80000, %esi
    movl $0x58, %ecx
    movl $0xe9, %edx
    cld
    rep outsb
    addq %r9, %r8
    decq %r10
    jnz 2b
    xorl %eax, %eax
    outl %eax, $0xf4
  end_code

  code count_8254
    incq %r12
    movb $0x20, %al
    outb %al, $0x20
    iretq
  end_code

  code count_apic_timer
    incq %r13
    movl $0, 0xb0(%rbx)
    iretq
  end_code

  code count_hpet
    incq %r14
    movl $0, 0xb0(%rbx)
    iretq
  end_code

  code count_rtc
    incq %r15
    movb $0xc, %al
    outb %al, $0x70
    inb $0x71, %al
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    iretq
  end_code

  code count_pm_timer
    incq %rbp
    movl $0x600, %edx
    movl $1, %eax
    outw %ax, %dx
    movl $0, 0xb0(%rbx)
    iretq
  end_code
