// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L2 needs before its first instruction: page tables and an IDT.
#include "guest-images/mmu-modes/guest_tables.h"

#include "guest-images/lib/selectors.h"
#include "guest-images/mmu-modes/guest.h"

enum { kEntries = 512, kLowTables = 2, kPageFaultVector = 14 };

static uint64_t pml4[kEntries] __attribute__((aligned(4096)));
static uint64_t pdpt[kEntries] __attribute__((aligned(4096)));
static uint64_t low_directory[kEntries] __attribute__((aligned(4096)));
static uint64_t low_tables[kLowTables][kEntries] __attribute__((aligned(4096)));
static uint64_t window_directory[kEntries] __attribute__((aligned(4096)));
volatile uint64_t window_table[kEntries] __attribute__((aligned(4096)));

static uint8_t stack[0x4000] __attribute__((aligned(4096)));

static struct { uint64_t low, high; } idt[kPageFaultVector + 1] __attribute__((aligned(4096)));

static uint64_t link_to(const volatile void* table) {
  return (uint64_t)table | PTE_PRESENT | PTE_WRITABLE;
}

void guest_prepare(void) {
  pml4[0] = link_to(pdpt);
  pdpt[0] = link_to(low_directory);
  pdpt[GUEST_WINDOW >> 30] = link_to(window_directory);
  window_directory[0] = link_to(window_table);
  for (unsigned i = 0; i < kLowTables; i++) {
    low_directory[i] = link_to(low_tables[i]);
    for (unsigned j = 0; j < kEntries; j++) {
      low_tables[i][j] = (i * kEntries + j) * PAGE_BYTES | PTE_PRESENT | PTE_WRITABLE;
    }
  }

  // A 64-bit interrupt gate.
  const uint64_t entry = (uint64_t)guest_page_fault_entry;
  idt[kPageFaultVector].low = (entry & 0xffff) | (uint64_t)SELECTOR_CODE64 << 16 | 0x8eull << 40 |
                              (entry >> 16 & 0xffff) << 48;
  idt[kPageFaultVector].high = entry >> 32;
}

uint64_t guest_cr3(void) { return (uint64_t)pml4; }
uint64_t guest_idt_base(void) { return (uint64_t)idt; }
uint32_t guest_idt_limit(void) { return sizeof idt - 1; }
// As after a CALL: the stack is aligned to 16 bytes before the return address.
uint64_t guest_stack(void) { return (uint64_t)(stack + sizeof stack) - 8; }
