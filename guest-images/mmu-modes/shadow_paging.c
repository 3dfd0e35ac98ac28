// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/mmu-modes/shadow_paging.h"

#include <stddef.h>

#include "guest-images/lib/console.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_controls.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/mmu-modes/guest.h"
#include "guest-images/mmu-modes/guest_memory.h"

enum { kEntries = 512, kTables = 16, kLevels = 4 };

static uint64_t tables[kTables][kEntries] __attribute__((aligned(4096)));  // the first is the root
static unsigned used = 1;
static uint64_t guest_root;
static uint16_t guest_vpid;
static bool invalidates_by_address;  // INVVPID offers it

static unsigned index_at(uint64_t linear, unsigned level) {
  return linear >> (12 + 9 * (level - 1)) & (kEntries - 1);
}

// What the processor cached of L2's linear addresses, or of one of them, goes. Without a VPID, VM
// entry sees to it.
static void forget(uint64_t linear, bool all) {
  if (!guest_vpid) return;
  const bool by_address = !all && invalidates_by_address;
  const InvalidationDescriptor descriptor = {guest_vpid, by_address ? linear : 0};
  if (vmx_invalidate_vpid(by_address ? kInvvpidAddress : kInvvpidSingleContext, descriptor) !=
      kVmSucceed) {
    give_up("INVVPID failed");
  }
}

static void empty(void) {
  memset(tables, 0, used * sizeof tables[0]);
  used = 1;
  forget(0, true);
}

uint64_t shadow_paging_start(uint64_t cr3, uint16_t vpid) {
  guest_root = cr3;
  guest_vpid = vpid;
  invalidates_by_address = vpid && read_msr(kMsrVmxEptVpidCapabilities) & VPID_CAP_INVVPID_ADDRESS;
  return (uint64_t)tables[0];
}

void shadow_paging_load_cr3(uint64_t cr3) {
  guest_root = cr3;
  empty();
}

uint64_t shadow_paging_cr3(void) { return guest_root; }

// The shadow entry that maps LINEAR; null if a table on the way is missing. With BUILD, none is.
static uint64_t* shadow_leaf(uint64_t linear, bool build) {
  if (build && used + kLevels - 1 > kTables) empty();
  uint64_t* shadow_table = tables[0];
  for (unsigned level = kLevels; level > 1; level--) {
    uint64_t* entry = &shadow_table[index_at(linear, level)];
    if (!(*entry & PTE_PRESENT)) {
      if (!build) return NULL;
      *entry = (uint64_t)tables[used++] | PTE_PRESENT | PTE_WRITABLE;
    }
    shadow_table = (uint64_t*)(*entry & PTE_ADDRESS);
  }
  return &shadow_table[index_at(linear, 1)];
}

ShadowFill shadow_paging_fill(uint64_t linear, uint32_t error_code) {
  const bool write = error_code & FAULT_WRITE;
  // L2's own walk: with CR0.WP, a write needs the permission of every level.
  volatile uint64_t* steps[kLevels];
  uint64_t table = guest_root & PTE_ADDRESS;
  bool writable = true;
  for (unsigned level = kLevels; level > 0; level--) {
    volatile uint64_t* entry = guest_memory_at(table + 8 * index_at(linear, level));
    if (!(*entry & PTE_PRESENT)) {
      return (ShadowFill){.error_code = error_code & ~FAULT_PRESENT};
    }
    writable = writable && *entry & PTE_WRITABLE;
    steps[level - 1] = entry;
    table = *entry & PTE_ADDRESS;
  }
  if (write && !writable) return (ShadowFill){.error_code = error_code | FAULT_PRESENT};

  // The flags that the processor would have set: it never walks these tables.
  for (unsigned level = kLevels; level > 0; level--) *steps[level - 1] |= PTE_ACCESSED;
  if (write) *steps[0] |= PTE_DIRTY;

  uint64_t* leaf = shadow_leaf(linear, true);
  const bool cached = *leaf & PTE_PRESENT;
  // A page that L2 has not written yet stays read-only: the first write must set the dirty flag.
  const bool dirty = *steps[0] & PTE_DIRTY;
  *leaf = (uint64_t)guest_memory_at(table) | PTE_PRESENT | (writable && dirty ? PTE_WRITABLE : 0);
  if (cached) forget(linear, false);
  return (ShadowFill){.filled = true};
}

void shadow_paging_invalidate(uint64_t linear) {
  uint64_t* leaf = shadow_leaf(linear, false);
  if (leaf) *leaf = 0;
  forget(linear, false);
}
