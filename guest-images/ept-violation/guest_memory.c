// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/ept-violation/guest_memory.h"

#include <stddef.h>

#include "guest-images/ept-violation/guest_layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_controls.h"

enum { kTableEntries = 512, kEptTables = 8 };

#define SIZE_4K 0x1000ull
#define SIZE_2M 0x200000ull
#define SIZE_1G 0x40000000ull

// L2's own paging-structure entries: present, writable, accessed; leaves also dirty.
#define GUEST_TABLE 0x23ull
#define GUEST_LEAF 0x63ull
#define GUEST_LEAF_CLEAN 0x23ull
#define GUEST_LARGE 0x80ull

extern const uint8_t guest_image[], guest_image_end[];  // guest.S

static uint8_t low_memory[GUEST_LOW_PAGES * SIZE_4K] __attribute__((aligned(4096)));

// Host memory above the image, aligned as the large pages need it.
#define HOST_2M 0x400000ull
#define HOST_1G 0ull

typedef struct {
  uint64_t gpa, host, bytes, page;
} Region;

static const Region kRegions[] = {
    {0, (uint64_t)low_memory, sizeof low_memory, SIZE_4K},
    {GUEST_2M, HOST_2M, SIZE_2M, SIZE_2M},
    {GUEST_1G, HOST_1G, SIZE_1G, SIZE_1G},
};

static uint64_t ept_tables[kEptTables][kTableEntries] __attribute__((aligned(4096)));
static unsigned ept_tables_used = 1;  // the first is the PML4 table

static const Region* region_of(uint64_t gpa) {
  for (unsigned i = 0; i < sizeof kRegions / sizeof kRegions[0]; i++) {
    if (gpa - kRegions[i].gpa < kRegions[i].bytes) return &kRegions[i];
  }
  return NULL;
}

void* guest_memory_at(uint64_t gpa) {
  const Region* region = region_of(gpa);
  return region ? (void*)(region->host + (gpa - region->gpa)) : NULL;
}

static void guest_write(uint64_t gpa, uint64_t value) {
  *(volatile uint64_t*)guest_memory_at(gpa) = value;
}

void guest_memory_prepare(void) {
  memcpy(guest_memory_at(GUEST_CODE), guest_image, (size_t)(guest_image_end - guest_image));
  *(uint8_t*)guest_memory_at(GUEST_SUBROUTINE) = 0xc3;  // RET

  guest_write(GUEST_PML4, GUEST_PDPT | GUEST_TABLE);
  guest_write(GUEST_PDPT, GUEST_PD_LOW | GUEST_TABLE);
  guest_write(GUEST_PDPT + 8, GUEST_PD_HIGH | GUEST_TABLE);
  guest_write(GUEST_PD_LOW, GUEST_PT | GUEST_TABLE);
  guest_write(GUEST_PD_LOW + 8 * (GUEST_2M / SIZE_2M), GUEST_2M | GUEST_LEAF | GUEST_LARGE);
  guest_write(GUEST_PD_HIGH + 8 * ((GUEST_1G_TOUCHED - GUEST_1G) / SIZE_2M),
              GUEST_1G_TOUCHED | GUEST_LEAF | GUEST_LARGE);
  for (uint64_t page = 0; page < GUEST_LOW_PAGES; page++) {
    const uint64_t gpa = page * SIZE_4K;
    guest_write(GUEST_PT + 8 * page,
                gpa | (gpa == GUEST_CLEAN_PAGE ? GUEST_LEAF_CLEAN : GUEST_LEAF));
  }
}

uint64_t guest_memory_ept_pointer(bool accessed_dirty) {
  return ept_pointer(ept_tables[0]) | (accessed_dirty ? EPTP_ENABLE_ACCESSED_DIRTY : 0);
}

static unsigned shift_of_level(unsigned level) { return 12 + 9 * (level - 1); }

static uint64_t* entry_of(uint64_t* table, uint64_t gpa, unsigned level) {
  return &table[gpa >> shift_of_level(level) & (kTableEntries - 1)];
}

// The largest page that is not larger than WANTED and that the processor offers, as the level of
// its entry.
static unsigned leaf_level(uint64_t wanted) {
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  if (wanted >= SIZE_1G && capabilities & EPT_CAP_1G_PAGES) return 3;
  if (wanted >= SIZE_2M && capabilities & EPT_CAP_2M_PAGES) return 2;
  if (wanted >= SIZE_2M) machine_lacks("EPT pages of 2 MiB");
  return 1;
}

uint64_t guest_memory_map(uint64_t gpa, uint64_t rights) {
  const Region* region = region_of(gpa);
  if (!region) return 0;
  const unsigned leaf = leaf_level(region->page);
  const uint64_t size = 1ull << shift_of_level(leaf);

  uint64_t* table = ept_tables[0];
  for (unsigned level = 4; level > leaf; level--) {
    uint64_t* entry = entry_of(table, gpa, level);
    if (!*entry) {
      if (ept_tables_used == kEptTables) give_up("out of EPT tables");
      *entry = (uint64_t)ept_tables[ept_tables_used++] | EPT_READ_WRITE_EXECUTE;
    }
    table = (uint64_t*)(*entry & EPT_ADDRESS);
  }
  uint64_t* entry = entry_of(table, gpa, leaf);
  const uint64_t host = ((uint64_t)guest_memory_at(gpa)) & ~(size - 1);
  *entry = (*entry & EPT_READ_WRITE_EXECUTE) | rights | host | EPT_MEMORY_TYPE_WRITE_BACK |
           (leaf > 1 ? EPT_LARGE_PAGE : 0);
  return size;
}

// Follows the EPT to the entry that maps GPA; counts the entries read into *REFERENCES.
static uint64_t* ept_walk(uint64_t gpa, unsigned* references) {
  uint64_t* table = ept_tables[0];
  for (unsigned level = 4;; level--) {
    uint64_t* entry = entry_of(table, gpa, level);
    ++*references;
    if (!(*entry & EPT_READ_WRITE_EXECUTE)) return NULL;
    if (level == 1 || *entry & EPT_LARGE_PAGE) return entry;
    table = (uint64_t*)(*entry & EPT_ADDRESS);
  }
}

uint64_t* guest_memory_leaf(uint64_t gpa) {
  unsigned references = 0;
  return ept_walk(gpa, &references);
}

void guest_memory_set_rights(uint64_t gpa, uint64_t rights) {
  uint64_t* entry = guest_memory_leaf(gpa);
  if (!entry) give_up("no EPT entry maps %#lx", gpa);
  *entry = (*entry & ~EPT_READ_WRITE_EXECUTE) | rights;
}

unsigned guest_memory_count_walk(uint64_t linear) {
  unsigned references = 0;
  uint64_t table_gpa = GUEST_PML4;
  for (unsigned level = 4;; level--) {
    const uint64_t entry_gpa =
        table_gpa + 8 * (linear >> shift_of_level(level) & (kTableEntries - 1));
    if (!ept_walk(entry_gpa, &references)) return 0;
    const uint64_t entry = *(const volatile uint64_t*)guest_memory_at(entry_gpa);
    references++;
    if (!(entry & 1)) return 0;
    const uint64_t address = entry & EPT_ADDRESS;
    if (level == 1 || entry & GUEST_LARGE) {
      const uint64_t offset = linear & ((1ull << shift_of_level(level)) - 1);
      return ept_walk(address + offset, &references) ? references : 0;
    }
    table_gpa = address;
  }
}

unsigned guest_memory_count_flag(uint64_t flag) {
  unsigned count = 0;
  for (unsigned table = 0; table < ept_tables_used; table++) {
    for (unsigned i = 0; i < kTableEntries; i++) count += (ept_tables[table][i] & flag) != 0;
  }
  return count;
}

void guest_memory_clear_flags(void) {
  for (unsigned table = 0; table < ept_tables_used; table++) {
    for (unsigned i = 0; i < kTableEntries; i++)
      ept_tables[table][i] &= ~(EPT_ACCESSED | EPT_DIRTY);
  }
}
