/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page of nestor view as the build makes it; empty where it cannot. */
        .section .rodata
        .globl  nestor_view_page, nestor_view_page_end
nestor_view_page:
        .incbin "view/page.html"
nestor_view_page_end:
        .section .note.GNU-stack, "", @progbits
