// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1's memory behind L2's guest-physical addresses, and the two ways to give it to L2.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Copies the image, as it is now, to L2's memory.
void guest_memory_fill(void);

// L1's address of the byte at guest-physical GPA; ends the image where L2 has no memory.
void* guest_memory_at(uint64_t gpa);

// EPTP of an EPT that maps all of L2's memory by 4-KByte pages.
uint64_t guest_memory_ept(void);
