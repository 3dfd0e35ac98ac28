// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's window of lazy memory. Shared with assembly.
#pragma once

#define GUEST_WINDOW 0x40000000
#define GUEST_PAGES 16
