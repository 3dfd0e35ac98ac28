// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c have of each other.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/exercises/evict-pages/guest_layout.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/vmx_instructions.h"

enum { kFrames = 4 };  // pages of host memory for the GUEST_PAGES pages of the guest

// L2 has touched page PAGE of its window, 0 to GUEST_PAGES - 1, whose EPT entry is not present.
// Must map it. False: there is no frame for it.
bool handle_violation(unsigned page);

// --- from check.c

// The EPT entry of page PAGE; 0: not present.
extern volatile uint64_t window_entries[512];
// The EPTP in use, for INVEPT.
extern uint64_t window_eptp;
// Physical address of frame FRAME, 0 to kFrames - 1.
uint64_t frame_address(unsigned frame);
// What page PAGE holds, on a disk: from frame FRAME to the disk, and back. What was never written
// there reads as zeros.
void disk_write(unsigned page, unsigned frame);
void disk_read(unsigned page, unsigned frame);
