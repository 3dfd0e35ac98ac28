// SPDX-License-Identifier: GPL-2.0-or-later
//
// I/O ports through which an image talks to the machine. Plain macros, so that C, C++ and assembly
// can share them.
#pragma once

// First serial port (16550), 8 byte-wide registers.
#define NESTOR_PORT_COM1 0x3f8

// Ends the run: a 32-bit OUT of V makes the emulator's process exit with status (V << 1) | 1.
#define NESTOR_PORT_DEBUG_EXIT 0xf4
#define NESTOR_DEBUG_EXIT_STATUS(value) (((value) << 1) | 1)

// Values that the images of this directory write there.
#define NESTOR_EXIT_PASS 0
#define NESTOR_EXIT_FAIL 1
#define NESTOR_EXIT_MACHINE_LACKS_FEATURE 2
#define NESTOR_EXIT_UNEXPECTED_EXCEPTION 3

// Marks of an image that measures: a byte, the number of the workload that begins, or 0: it has
// ended. Without a device there, nothing happens.
#define NESTOR_PORT_WORKLOAD 0xf8
#define NESTOR_WORKLOAD_END 0
// What some numbers mean; all others are the image's own.
#define NESTOR_WORKLOAD_PAGE_FAULTS 1  // page faults that L2 handles itself
#define NESTOR_WORKLOAD_TLB_MISSES 2   // touches of many pages, again and again with no TLB
#define NESTOR_WORKLOAD_COMPUTATION 3  // hardly any new page, and no VM exit that L1 asks for
#define NESTOR_WORKLOAD_CPUID_EXITS 4  // VM exits by CPUID in L2

// Debug console: each byte written appears on the emulator's output; reads give 0xe9.
#define NESTOR_PORT_DEBUG_CONSOLE 0xe9

// QEMU's firmware configuration device: 16-bit selector, 8-bit data.
#define NESTOR_PORT_FW_CFG_SELECTOR 0x510
#define NESTOR_PORT_FW_CFG_DATA 0x511

// 8259 interrupt controllers: command port, and data (mask) port one above.
#define NESTOR_PORT_PIC_MASTER 0x20
#define NESTOR_PORT_PIC_SLAVE 0xa0
