// SPDX-License-Identifier: GPL-2.0-or-later
//
// EPT entries and the EPT pointer. Source: Intel SDM, "The Extended Page Table Mechanism (EPT)".
#pragma once

#include <stdint.h>

#define EPT_READ (1ull << 0)
#define EPT_WRITE (1ull << 1)
#define EPT_EXECUTE (1ull << 2)
#define EPT_READ_WRITE_EXECUTE (EPT_READ | EPT_WRITE | EPT_EXECUTE)
#define EPT_MEMORY_TYPE_UNCACHEABLE (0ull << 3)
#define EPT_MEMORY_TYPE_WRITE_BACK (6ull << 3)
#define EPT_LARGE_PAGE (1ull << 7)
#define EPT_ACCESSED (1ull << 8)
#define EPT_DIRTY (1ull << 9)
#define EPT_ADDRESS 0x000ffffffffff000ull

#define EPTP_MEMORY_TYPE_UNCACHEABLE 0ull
#define EPTP_MEMORY_TYPE_WRITE_BACK 6ull
#define EPTP_WALK_LENGTH_4 (3ull << 3)
#define EPTP_ENABLE_ACCESSED_DIRTY (1ull << 6)

// EPTP for the PML4 table at TABLE: walk length 4, write-back if offered, accessed and dirty flags
// off.
uint64_t ept_pointer(const void* table);

// Builds an EPT that maps the first GiB to itself, all access allowed, and returns its EPTP. Takes
// the largest page offered: one of 1 GiB, or 512 of 2 MiB. Ends the image on a processor with
// neither.
uint64_t ept_identity_map(void);
