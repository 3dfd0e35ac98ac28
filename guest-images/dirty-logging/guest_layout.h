// SPDX-License-Identifier: GPL-2.0-or-later
//
// Shared with assembly.
#pragma once

// L2's memory that L1 watches: linear and guest-physical address, and its pages of 4 KBytes. It
// fills one page table.
#define GUEST_WINDOW 0x20000000
#define GUEST_WINDOW_PAGES 512
