// SPDX-License-Identifier: GPL-2.0-or-later
//
// Executes a VMX instruction and reads four MSRs. RBX counts the MSRs that there are, RSI the #GPs,
// RDI the #UDs; the handlers go on after the instruction.
  .code64
  .text
  .global guest_entry
guest_entry:
  xorl %ebx, %ebx
  xorl %esi, %esi
  xorl %edi, %edi
  vmxoff

  movl $0x277, %ecx
  call probe
  movl $0x174, %ecx
  call probe
  movl $0x4b564d00, %ecx
  call probe
  movl $0x40000000, %ecx
  call probe
  vmcall
  // L1 does not come back here.
  ud2

  // The MSR in ECX counts as found until its #GP.
probe:
  incl %ebx
  rdmsr
  ret

  .global guest_invalid_opcode
guest_invalid_opcode:
  incl %edi
  addq $3, (%rsp)
  iretq

  .global guest_general_protection
guest_general_protection:
  addq $8, %rsp  // the error code
  decl %ebx
  incl %esi
  addq $2, (%rsp)
  iretq

  .section .note.GNU-stack, "", @progbits
