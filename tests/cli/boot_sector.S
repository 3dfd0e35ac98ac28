// SPDX-License-Identifier: GPL-2.0-or-later
// A boot sector: prints by the BIOS, reads the sector behind it by the BIOS, prints the text that
// is there, and ends the run with 3.
  .code16
  .global _start
_start:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  pushw %dx
  movw $hello, %si
  call print
  popw %dx
  movw $packet, %si
  movb $0x42, %ah  // extended read
  int $0x13
  jc failed
  movw $0x8000, %si
  call print
  movb $3, %al
  outb %al, $0xf4
failed:
  movb $4, %al
  outb %al, $0xf4
print:
  lodsb
  testb %al, %al
  jz 1f
  movb $0x0e, %ah
  movw $7, %bx
  int $0x10
  jmp print
1:
  ret
hello:
  .asciz "boot sector\r\n"
packet:
  .byte 16, 0
  .word 1, 0x8000, 0
  .quad 1
  .org 510
  .word 0xaa55
second_sector:
  .asciz "second sector\r\n"
  .org 2048
