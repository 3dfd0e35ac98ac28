// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/assembled_code.inc"

  // The function that is rewritten: returns 5.
  code returns_5
    movl $5, %eax
    ret
  end_code

  // Calls the function at 108000H, writes elsewhere in its page and then a 7 into it, both through
  // the alias at 20000H, calls it again, and ends the run with what it returned.
  code rewrite_and_call
    movb $0x90, 0x20800
    movl $0x108000, %ebx
    call *%rbx
    movb $0x90, 0x20800
    movb $7, 0x20001
    movl $0x108000, %ebx
    call *%rbx
    outl %eax, $0xf4
  end_code
