// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/exercises/invalidations/tables.h"

#include "guest-images/lib/ept.h"

// Present, writable, accessed, dirty; a page of 2 MBytes.
#define GUEST_TABLE 0x63ull
#define GUEST_LARGE 0x80ull

static uint64_t ept_pml4[kEpts][kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[kEpts][kEntries] __attribute__((aligned(4096)));
static volatile uint64_t ept_pd[kEpts][kEntries] __attribute__((aligned(4096)));
volatile uint64_t ept_pt[kLeafTables][kEntries] __attribute__((aligned(4096)));

static uint64_t guest_pml4[kGuests][kEntries] __attribute__((aligned(4096)));
static uint64_t guest_pdpt[kGuests][kEntries] __attribute__((aligned(4096)));
static uint64_t guest_pd[kGuests][kEntries] __attribute__((aligned(4096)));
volatile uint64_t guest_pt[kGuests][kEntries] __attribute__((aligned(4096)));

static uint64_t pages[kPages][kEntries] __attribute__((aligned(4096)));

void tables_link(unsigned ept, unsigned leaf_table) {
  ept_pd[ept][WINDOW >> 21] = (uint64_t)ept_pt[leaf_table] | EPT_READ_WRITE_EXECUTE;
}

void tables_build(void) {
  const uint64_t ept_leaf = EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  for (unsigned i = 0; i < kEpts; i++) {
    ept_pml4[i][0] = (uint64_t)ept_pdpt[i] | EPT_READ_WRITE_EXECUTE;
    ept_pdpt[i][0] = (uint64_t)ept_pd[i] | EPT_READ_WRITE_EXECUTE;
    for (uint64_t j = 0; j < kEntries; j++) ept_pd[i][j] = j << 21 | ept_leaf;
    tables_link(i, i);
  }
  for (unsigned i = 0; i < kGuests; i++) {
    guest_pml4[i][0] = (uint64_t)guest_pdpt[i] | GUEST_TABLE;
    guest_pdpt[i][0] = (uint64_t)guest_pd[i] | GUEST_TABLE;
    for (uint64_t j = 0; j < kEntries; j++) guest_pd[i][j] = j << 21 | GUEST_TABLE | GUEST_LARGE;
    guest_pd[i][WINDOW >> 21] = (uint64_t)guest_pt[i] | GUEST_TABLE;
  }
  for (unsigned i = 0; i < kPages; i++) pages[i][0] = page_word(i);
}

uint64_t tables_eptp(unsigned ept) { return ept_pointer(ept_pml4[ept]); }
uint64_t tables_cr3(unsigned guest) { return (uint64_t)guest_pml4[guest]; }

uint64_t ept_entry(unsigned page, uint64_t rights) {
  return (uint64_t)pages[page] | rights | EPT_MEMORY_TYPE_WRITE_BACK;
}

uint64_t guest_entry(unsigned page) { return window_page(page) | GUEST_TABLE; }
