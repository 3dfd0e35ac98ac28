// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's page tables and EPTs, which check.c changes.
#pragma once

#include <stdint.h>

enum { kEntries = 512, kEpts = 2, kLeafTables = 3, kGuests = 2, kPages = 8 };

// Linear and guest-physical address of the pages that L2 uses; both are numbered from there.
#define WINDOW 0x20000000ull
static inline uint64_t window_page(unsigned page) { return WINDOW + ((uint64_t)page << 12); }

// EPT entries of the window. The first EPT begins with table 0, the second with table 1.
extern volatile uint64_t ept_pt[kLeafTables][kEntries];

// L2's entries of the window, for each of its CR3s.
extern volatile uint64_t guest_pt[kGuests][kEntries];

// All tables; the window leads nowhere yet.
void tables_build(void);

uint64_t tables_eptp(unsigned ept);
uint64_t tables_cr3(unsigned guest);

// Puts a table of ept_pt[] into an EPT.
void tables_link(unsigned ept, unsigned leaf_table);

// An EPT entry for one of L1's pages with RIGHTS; the first word of page N is page_word(N).
uint64_t ept_entry(unsigned page, uint64_t rights);
static inline uint64_t page_word(unsigned page) { return 0x100 + page; }

// An entry of L2's for a page of the window.
uint64_t guest_entry(unsigned page);
