// SPDX-License-Identifier: GPL-2.0-or-later
//
// The L2 guest: a copy of this image in memory of its own, entered at guest_main(). Its
// guest-physical addresses below 4 MiB equal its linear ones, and those of the image; so what L1
// prepares in place before it makes the copy, the guest finds.
#pragma once

#include <stdint.h>

#define PAGE_BYTES 0x1000ull
#define GUEST_MEMORY_BYTES 0x400000ull

// Data pages, and the linear addresses by which the workloads map them.
#define GUEST_POOL 0x200000ull
#define GUEST_POOL_PAGES 512
#define GUEST_WINDOW 0x40000000ull

// Bits of an entry of ordinary page tables.
#define PTE_PRESENT (1ull << 0)
#define PTE_WRITABLE (1ull << 1)
#define PTE_ACCESSED (1ull << 5)
#define PTE_DIRTY (1ull << 6)
#define PTE_ADDRESS 0x000ffffffffff000ull

// Error code of a page fault.
#define FAULT_PRESENT (1u << 0)
#define FAULT_WRITE (1u << 1)

// L2's VMCALLs: RAX says what, RBX and RCX are values.
enum {
  kCallReport,  // RBX: number of the workload, RCX: its checksum
  kCallDone,    // RBX: page faults that L2 handled
  kCallFailed,  // RBX: a linear address, RCX: the error code of a fault that L2 did not expect
};

// L1 answers CPUID with this; what the processor would say may differ from one machine to the next.
static inline uint32_t answer_to_cpuid(uint32_t leaf) { return leaf * 2654435761u + 40503u; }

// In place: L2's page tables and IDT.
void guest_prepare(void);

// Guest-physical address of L2's PML4 table.
uint64_t guest_cr3(void);

uint64_t guest_idt_base(void);
uint32_t guest_idt_limit(void);

// The initial RSP.
uint64_t guest_stack(void);

_Noreturn void guest_main(void);
