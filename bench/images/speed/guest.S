// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guests, and the shortest handlers that L1 can have for them.
#define EXIT_REASON 0x4402
#define GUEST_RIP 0x681e
#define HOST_RSP 0x6c14
#define HOST_RIP 0x6c16
#define EXITING_BYTES 2
#define TOUCH_STRIDE 4160

  .code64
  .text

// Calls the loop at RAX, and returns to L1 with what the loop left in RAX.
  .global guest_call
guest_call:
  call *%rax
  vmcall
  ud2

  .global guest_cpuid
guest_cpuid:
  cpuid
  jmp guest_cpuid

// Loads from 32 pages from RSI on between one CPUID and the next.
  .global guest_cpuid_pages
guest_cpuid_pages:
  movq %rsi, %r8
  movl $32, %r9d
1:
  addq (%r8), %r10
  addq $TOUCH_STRIDE, %r8
  decl %r9d
  jnz 1b
  cpuid
  jmp guest_cpuid_pages

// Stores to RSI.
  .global guest_store
guest_store:
  movb %al, (%rsi)
  jmp guest_store

// uint64_t exits_resume(uint64_t count, void* pages, uint32_t reason): VMRESUME again and again, not
// moving the guest's RIP.
// uint64_t exits_advance(uint64_t count, void* pages, uint32_t reason): looks at the exit reason, and
// steps over the instruction.
// Both need a launched VMCS, and return how many exits were still to come when it went wrong.
  .global exits_resume
exits_resume:
  leaq 1f(%rip), %rcx
  jmp run
1:
  decq %r12
  jz finished
  vmresume
  jmp finished

  .global exits_advance
exits_advance:
  leaq 1f(%rip), %rcx
  jmp run
1:
  movl $EXIT_REASON, %eax
  vmread %rax, %rcx
  cmpl %r13d, %ecx
  jne finished
  movl $GUEST_RIP, %eax
  vmread %rax, %rcx
  addq $EXITING_BYTES, %rcx
  vmwrite %rcx, %rax
  decq %r12
  jz finished
  vmresume
  jmp finished

// RDI: count, RCX: where VM exits arrive, RDX: their reason, RSI: passed on to the guest. The guest
// leaves R12 and R13 alone, so they serve both.
run:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rdi, %r12
  movl %edx, %r13d
  movl $HOST_RIP, %eax
  vmwrite %rcx, %rax
  movl $HOST_RSP, %eax
  vmwrite %rsp, %rax
  vmresume
finished:
  movq %r12, %rax
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  .section .note.GNU-stack, "", @progbits
