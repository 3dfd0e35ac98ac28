// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's memory. Shared with assembly.
#pragma once

// Guest-physical addresses. L2's page tables map them to themselves, up to GUEST_MEMORY_BYTES / 2.
#define GUEST_CODE 0x1000
#define GUEST_PML4 0x2000
#define GUEST_PDPT 0x3000
#define GUEST_PD 0x4000
#define GUEST_PT 0x5000
#define GUEST_IDT 0x6000
#define GUEST_STACK 0x7000
#define GUEST_GDT 0x8000
#define GUEST_FAULTS 0x9000  // CR2 and error code of each page fault that L2 handled
#define GUEST_DATA 0x10000   // four pages
#define GUEST_MEMORY_BYTES 0x40000

// Linear addresses, and the guest-physical ones behind them.
#define LINEAR_READ 0x20000       // GUEST_DATA
#define LINEAR_WRITTEN 0x21000    // GUEST_DATA + 1000H
#define LINEAR_MISSING 0x22000    // not present, until L2's handler maps GUEST_DATA + 2000H
#define LINEAR_READ_ONLY 0x23000  // GUEST_DATA + 3000H, until L2's handler makes it writable

// Where the entry is that maps a linear address.
#define ENTRY_OF(linear) (GUEST_PT + 8 * ((linear) >> 12))

#define NEW_WORD 0x7e3
