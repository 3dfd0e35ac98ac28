// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's memory: the host memory behind it, the EPT that maps it bit by bit, and walks of both.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Fills L2's code, data and page tables. The EPT is empty.
void guest_memory_prepare(void);

// EPTP of the EPT; accessed and dirty flags are enabled if ACCESSED_DIRTY.
uint64_t guest_memory_ept_pointer(bool accessed_dirty);

// Host address of the byte at GPA, whether mapped or not; null outside of L2's memory.
void* guest_memory_at(uint64_t gpa);

// Maps the page of GPA: what it allowed already, plus RIGHTS (EPT_READ ...). The page's size is its
// region's. Returns that size in bytes, or 0 if L2 has no memory there.
uint64_t guest_memory_map(uint64_t gpa, uint64_t rights);

// Replaces the rights of the 4-KiB page of GPA, which must be mapped.
void guest_memory_set_rights(uint64_t gpa, uint64_t rights);

// The EPT entry that maps GPA; null if there is none.
uint64_t* guest_memory_leaf(uint64_t gpa);

// Table entries that a processor with empty caches references to translate L2's LINEAR address: the
// EPT entries for each of L2's table entries, these entries, and the EPT entries for the final
// guest-physical address. 0 if unmapped.
unsigned guest_memory_count_walk(uint64_t linear);

// How many EPT entries have FLAG (EPT_ACCESSED, EPT_DIRTY) set, in all tables; and clearing both
// flags everywhere.
unsigned guest_memory_count_flag(uint64_t flag);
void guest_memory_clear_flags(void);
