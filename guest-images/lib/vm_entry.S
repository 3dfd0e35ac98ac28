// SPDX-License-Identifier: GPL-2.0-or-later
//
// VmxResult vm_enter(GuestRegisters *registers, bool resume)
#define HOST_RSP 0x6c14

// Offsets in GuestRegisters.
#define RAX 0
#define RCX 8
#define RDX 16
#define RBX 24
#define RBP 32
#define RSI 40
#define RDI 48
#define R8 56
#define R9 64
#define R10 72
#define R11 80
#define R12 88
#define R13 96
#define R14 104
#define R15 112

// Results: VmxResult.
#define VM_SUCCEED 0
#define VM_FAIL_INVALID 1
#define VM_FAIL_VALID 2

  .code64
  .text
  .global vm_enter
  .global vm_exit_point
vm_enter:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rdi
  // Without a current VMCS this fails, and so will the entry below, in the same way.
  movl $HOST_RSP, %eax
  vmwrite %rsp, %rax

  // MOV leaves the flags alone: the choice made here is acted upon once the guest's registers are
  // loaded.
  testb %sil, %sil
  movq RAX(%rdi), %rax
  movq RCX(%rdi), %rcx
  movq RDX(%rdi), %rdx
  movq RBX(%rdi), %rbx
  movq RBP(%rdi), %rbp
  movq RSI(%rdi), %rsi
  movq R8(%rdi), %r8
  movq R9(%rdi), %r9
  movq R10(%rdi), %r10
  movq R11(%rdi), %r11
  movq R12(%rdi), %r12
  movq R13(%rdi), %r13
  movq R14(%rdi), %r14
  movq R15(%rdi), %r15
  movq RDI(%rdi), %rdi
  jnz 1f
  vmlaunch
  jmp 2f
1:
  vmresume
2:
  // Only reached when the instruction failed.
  movl $VM_FAIL_INVALID, %eax
  jc 3f
  movl $VM_FAIL_VALID, %eax
3:
  popq %rdi
  jmp 4f

vm_exit_point:
  // HOST_RSP points at the saved pointer to GuestRegisters.
  xchgq %rdi, (%rsp)
  movq %rax, RAX(%rdi)
  movq %rcx, RCX(%rdi)
  movq %rdx, RDX(%rdi)
  movq %rbx, RBX(%rdi)
  movq %rbp, RBP(%rdi)
  movq %rsi, RSI(%rdi)
  popq RDI(%rdi)
  movq %r8, R8(%rdi)
  movq %r9, R9(%rdi)
  movq %r10, R10(%rdi)
  movq %r11, R11(%rdi)
  movq %r12, R12(%rdi)
  movq %r13, R13(%rdi)
  movq %r14, R14(%rdi)
  movq %r15, R15(%rdi)
  movl $VM_SUCCEED, %eax
4:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  .section .note.GNU-stack, "", @progbits
