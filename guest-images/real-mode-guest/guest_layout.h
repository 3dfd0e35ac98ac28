// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where L2 lies in memory. Shared with assembly.
#pragma once

// The program is copied here, and starts at its first byte with CS = GUEST_SEGMENT, IP = 0.
#define GUEST_BASE 0x10000
#define GUEST_SEGMENT 0x1000

// L2 builds its page tables here: PAE (page-directory-pointer table, page directory), then 4-level
// on the same directory.
#define GUEST_PAE_PDPT 0x20000
#define GUEST_PAGE_DIRECTORY 0x21000
#define GUEST_PML4 0x22000
#define GUEST_LONG_PDPT 0x23000

#define GUEST_STACK_TOP 0x30000

// L2's interrupt vector in real mode.
#define GUEST_VECTOR 0x60

// EAX of L2's CPUIDs: this plus the number of the stage.
#define GUEST_STAGE_LEAF 0x40000000

// What L2 passes to VMCALL in EAX.
#define GUEST_CALL_REAL_MODE 0x16
#define GUEST_CALL_64BIT 0x64
