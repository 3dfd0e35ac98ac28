// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/images/speed/small_pages.h"

#include "guest-images/lib/ept.h"

enum { kTables = 64, kPagePresent = 1, kPageWritable = 2 };

typedef struct {
  uint64_t pml4[512], pdpt[512], pd[512], pt[kTables][512];
} Tables;

static Tables linear __attribute__((aligned(4096)));
static Tables physical __attribute__((aligned(4096)));

static void fill(Tables* tables, uint64_t table_flags, uint64_t page_flags) {
  tables->pml4[0] = (uint64_t)tables->pdpt | table_flags;
  tables->pdpt[0] = (uint64_t)tables->pd | table_flags;
  for (uint64_t i = 0; i < kTables; i++) {
    tables->pd[i] = (uint64_t)tables->pt[i] | table_flags;
    for (uint64_t j = 0; j < 512; j++) tables->pt[i][j] = (i * 512 + j) << 12 | page_flags;
  }
}

uint64_t small_pages_cr3(void) {
  fill(&linear, kPagePresent | kPageWritable, kPagePresent | kPageWritable);
  return (uint64_t)linear.pml4;
}

uint64_t small_pages_eptp(void) {
  fill(&physical, EPT_READ_WRITE_EXECUTE, EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK);
  physical.pt[SMALL_PAGES_HOLE >> 21][SMALL_PAGES_HOLE >> 12 & 511] = 0;
  return ept_pointer(physical.pml4);
}
