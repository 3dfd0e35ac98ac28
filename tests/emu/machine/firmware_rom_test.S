// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/assembled_code.inc"

// The last 16 bytes of a ROM.
code rom_end
  .code16
  .byte 0xea  // a far jump to the first instruction of the window below 1 MiB
  .word 0xe000, 0xf000
end_code

// At F000:E000. Tells what is read at F000:1234 after each step.
code rom_program
  .code16
  .macro show
    movb %cs:0x1234, %al
    outb %al, $0xe9
  .endm
  // Of F0000 to FFFFF: bit 4, reads meet RAM, bit 5, writes do.
  .macro set_pam value
    movl $0x80000058, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movb $\value, %al
    movw $0xcfd, %dx
    outb %al, %dx
  .endm
  movw $0xf000, %ax
  movw %ax, %ds
  movw %ax, %es
  movb $0x11, 0x1234
  show                    // ROM
  set_pam 0x20
  xorw %si, %si
  xorw %di, %di
  movw $0x4000, %cx
  cld
2:
  movsl                   // from the ROM to the RAM behind it
  loop 2b
  movb $0x22, 0x1234
  show                    // ROM
  set_pam 0x30
  show                    // 0x22
  movb $0x33, 0x1234
  show                    // 0x33
  movb $0x44, 3f + 1 - nestor_code_rom_program + 0xe000
3:
  movb $0, %al            // its operand was written just now
  outb %al, $0xe9         // 0x44
  set_pam 0x10
  movb $0x55, 0x1234
  show                    // 0x33
  incb 0x1234
  show                    // 0x33
  movw $0xf000, %ax
  movw $0x1235, %sp
  movw %ax, %ss           // a stack that cannot be written to
  pushw %ax
  show                    // 0x33
  set_pam 0
  show                    // ROM
  set_pam 0x30
  show                    // 0x33
  movb $5, %al
  outb %al, $0xf4
end_code
