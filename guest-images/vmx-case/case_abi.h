// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a text of cases and the image agree on; README.md has the format. Plain macros, so that C
// and C++ can share them.
#pragma once

// Physical memory that belongs to the cases: guest memory, its tables, EPT, bitmaps.
#define NESTOR_CASE_ARENA 0x4000000
#define NESTOR_CASE_ARENA_SIZE 0x20000

// VM exits of one case after which L1 stops, if the case does not say.
#define NESTOR_CASE_EXITS 6
