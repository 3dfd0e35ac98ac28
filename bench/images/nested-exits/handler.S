// SPDX-License-Identifier: GPL-2.0-or-later
//
// An L1 whose handler does about as much for a VM exit as KVM: it keeps all registers of its guest,
// makes as many VMREADs and VMWRITEs as KVM on an L0 that offers no virtual APIC (6 and 1 for CPUID,
// 8 and 1 for VMCALL), and executes a thousand instructions in the mix of KVM's. And the L2 guests.
#include "bench/images/nested-exits/handler.h"

#define HOST_RSP 0x6c14
#define HOST_RIP 0x6c16
#define EXIT_REASON 0x4402
#define IDT_VECTORING_INFORMATION 0x4408
#define INSTRUCTION_LENGTH 0x440c
#define GUEST_INTERRUPTIBILITY 0x4824
#define GUEST_CS_ACCESS_RIGHTS 0x4816
#define GUEST_SS_ACCESS_RIGHTS 0x4818
#define GUEST_RIP 0x681e
#define GUEST_RFLAGS 0x6820

  .code64
  .text

// The guests: RDI exits, between two readings of the TSC; HLT ends them with the difference in RAX.
// CPUID changes RAX to RDX.
  .macro guest name, instruction
  .global \name
\name:
  rdtsc
  movl %eax, %esi
1:
  \instruction
  decl %edi
  jnz 1b
  rdtsc
  subl %esi, %eax
  hlt
  .endm
  guest guest_cpuid, cpuid
  guest guest_vmcall, vmcall

// What the handler keeps of its guest, at RBX: the general registers by number, RSP's place being
// free, and what it has read.
#define REGISTER(number) (8 * number)(%rbx)
#define FIELDS 128

  .macro save name, number
  movq %\name, REGISTER(\number)
  .endm
  .macro load name, number
  movq REGISTER(\number), %\name
  .endm
  .macro registers do
  \do rcx, 1
  \do rdx, 2
  \do rbp, 5
  \do rsi, 6
  \do rdi, 7
  \do r8, 8
  \do r9, 9
  \do r10, 10
  \do r11, 11
  \do r12, 12
  \do r13, 13
  \do r14, 14
  \do r15, 15
  .endm

  .macro read field, number
  movl $\field, %eax
  vmread %rax, %rcx
  movq %rcx, (FIELDS + 8 * \number)(%rbx)
  .endm

// Code in that mix, called and jumped over.
  .macro work
  call 3f
  jmp 9f
3:
  pushq %rbp
  movq %rsp, %rbp
  pushq %r12
  leaq FIELDS(%rbx), %r12
  movq 8(%r12), %rax
  movq 16(%r12), %rdx
  testq %rdx, %rdx
  je 4f
4:
  movl $EXIT_REASON, %ecx
  movq %rdx, %rsi
  andl $0x3f, %esi
  cmpl $4, %esi
  ja 4f
4:
  call 8f
  movq %rax, 0x100(%rbx)
  movl 0x108(%rbx), %eax
  orl $0x10, %eax
  movl %eax, 0x108(%rbx)
  testb $4, 0x110(%rbx)
  jne 4f
4:
  movl $1, %esi
  movq %rax, %r8
  movq 24(%r12), %rcx
  shrq $12, %rcx
  jmp 4f
4:
  addq 32(%r12), %rcx
  testb %al, %al
  je 4f
4:
  movq %rbx, %rdi
  movq 40(%r12), %rdx
  cmpq %rcx, %rdx
  jne 4f
4:
  xorl %edx, %edx
  movl $GUEST_RIP, %edi
  movq %r8, %rsi
  movq %rax, 0x118(%rbx)
  cmpq $0, 0x120(%rbx)
  je 4f
4:
  popq %r12
  popq %rbp
  ret
8:
  addq 48(%r12), %rax
  ret
9:
  .endm

// uint64_t run(uint64_t* kept, const void* guest, uint64_t exits, bool all_fields): VM entries until
// a VM exit for HLT; RAX of the guest then, or -1 if a VM entry failed. Needs a VMCS that is clear.
  .global run
run:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rcx
  pushq %rdi
  movl $HOST_RSP, %eax
  vmwrite %rsp, %rax
  leaq exited(%rip), %rcx
  movl $HOST_RIP, %eax
  vmwrite %rcx, %rax
  movl $GUEST_RIP, %eax
  vmwrite %rsi, %rax
  movq %rdx, %rdi
  vmlaunch
  jmp failed

exited:
  pushq %rbx
  movq 8(%rsp), %rbx
  movq %rax, REGISTER(0)
  popq %rax
  movq %rax, REGISTER(3)
  registers save

  read EXIT_REASON, 0
  cmpl $12, %ecx
  je finished
  read IDT_VECTORING_INFORMATION, 1
  read GUEST_RFLAGS, 2
  read GUEST_INTERRUPTIBILITY, 3
  .rept HANDLER_ROUNDS / 2
  work
  .endr
  cmpb $0, 8(%rsp)
  je 1f
  read GUEST_CS_ACCESS_RIGHTS, 4
  read GUEST_SS_ACCESS_RIGHTS, 5
1:
  read INSTRUCTION_LENGTH, 6
  movq %rcx, %rdx
  read GUEST_RIP, 7
  addq %rdx, %rcx
  vmwrite %rcx, %rax
  .rept HANDLER_ROUNDS / 2
  work
  .endr

  registers load
  movq REGISTER(0), %rax
  movq REGISTER(3), %rbx
  vmresume
failed:
  movq (%rsp), %rbx
  movq $-1, REGISTER(0)
finished:
  movq REGISTER(0), %rax
  addq $16, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  .section .note.GNU-stack, "", @progbits
