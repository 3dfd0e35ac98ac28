// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/mmu-modes/guest_memory.h"

#include <stddef.h>

#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/memory.h"
#include "guest-images/mmu-modes/guest.h"

enum { kEntries = 512, kLeafTables = 2 };

// Above the image, and nowhere near L2's own addresses.
#define HOST_BASE 0x800000ull

extern const uint8_t image_end[];  // lib/image.ld
#define IMAGE_BASE 0x100000ull

static uint64_t ept_pml4[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pd[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pt[kLeafTables][kEntries] __attribute__((aligned(4096)));

void* guest_memory_at(uint64_t gpa) {
  if (gpa >= GUEST_MEMORY_BYTES) give_up("L2 has no memory at guest-physical %#lx", gpa);
  return (void*)(HOST_BASE + gpa);
}

void guest_memory_fill(void) {
  const uint64_t end = (uint64_t)image_end;
  if (end > GUEST_POOL) give_up("the image is too large for L2's memory: it ends at %#lx", end);
  memset(guest_memory_at(0), 0, GUEST_MEMORY_BYTES);
  memcpy(guest_memory_at(IMAGE_BASE), (const void*)IMAGE_BASE, (size_t)(end - IMAGE_BASE));
}

uint64_t guest_memory_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (unsigned i = 0; i < kLeafTables; i++) {
    ept_pd[i] = (uint64_t)ept_pt[i] | EPT_READ_WRITE_EXECUTE;
    for (unsigned j = 0; j < kEntries; j++) {
      ept_pt[i][j] = (uint64_t)guest_memory_at((i * kEntries + j) * PAGE_BYTES) |
                     EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK;
    }
  }
  return ept_pointer(ept_pml4);
}
