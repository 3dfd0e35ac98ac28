// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the valid VMCS runs, and what a broken one runs if the processor overlooks the fault.
  .code64
  .text
  .global guest_entry
guest_entry:
  vmcall
  ud2

  .section .note.GNU-stack, "", @progbits
