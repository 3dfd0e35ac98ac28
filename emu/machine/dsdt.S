/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dsdt.asl as the build compiles it. */
        .section .rodata
        .globl  nestor_dsdt, nestor_dsdt_end
nestor_dsdt:
        .incbin "dsdt.aml"
nestor_dsdt_end:
        .section .note.GNU-stack, "", @progbits
