// SPDX-License-Identifier: GPL-2.0-or-later
//
// Shared with assembly.
#pragma once

// The page of L2 that L1 exchanges: linear and guest-physical address, aligned to 2 MiB.
#define GUEST_WINDOW 0x20000000
