// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guest's pages that L1 swaps. Shared with assembly.
#pragma once

#define PAGED_MEMORY 0x600000
#define PAGES 8
