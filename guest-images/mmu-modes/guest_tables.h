// SPDX-License-Identifier: GPL-2.0-or-later
//
// Between the parts of L2.
#pragma once

#include <stdint.h>

// The page table of GUEST_WINDOW.
extern volatile uint64_t window_table[];

// The handler that the IDT names, in guest_entry.S; it calls guest_page_fault().
extern const char guest_page_fault_entry[];
void guest_page_fault(uint64_t error_code, uint64_t linear);
