// SPDX-License-Identifier: GPL-2.0-or-later
//
// Paging structures that map the first 128 MiB to itself by pages of 4 KiB.
#pragma once

#include <stdint.h>

// The value for CR3.
uint64_t small_pages_cr3(void);

// The EPTP, accessed and dirty flags off. EPT leaves out the page at SMALL_PAGES_HOLE.
#define SMALL_PAGES_HOLE 0x7fff000
uint64_t small_pages_eptp(void);
