// SPDX-License-Identifier: GPL-2.0-or-later
// A boot sector: sets 800 by 600 dots of 256 colours by the VBE of the VGA BIOS, draws the first
// line in colour 4 by way of the window at A0000H, and ends the run with 3.
  .code16
  .global _start
_start:
  movw $0x4f02, %ax
  movw $0x0103, %bx
  int $0x10
  cmpw $0x004f, %ax
  jne failed
  movw $0xa000, %ax
  movw %ax, %es
  xorw %di, %di
  movw $800, %cx
  movb $4, %al
  cld
  rep stosb
  movb $3, %al
  outb %al, $0xf4
failed:
  movb $4, %al
  outb %al, $0xf4
  .org 510
  .word 0xaa55
  .org 2048
