// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c, which calls it, have in common.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Bits of an entry of page tables.
#define PTE_PRESENT (1ull << 0)
#define PTE_WRITABLE (1ull << 1)
#define PTE_ACCESSED (1ull << 5)
#define PTE_DIRTY (1ull << 6)
#define PTE_ADDRESS 0x000ffffffffff000ull

// Error code of a page fault.
#define FAULT_PRESENT (1u << 0)
#define FAULT_WRITE (1u << 1)

// Guest-physical address of L2's PML4 table.
uint64_t guest_cr3(void);

// The word of L2's memory at guest-physical GPA, for reading and writing.
volatile uint64_t* guest_word(uint64_t gpa);

// Lets LINEAR be translated to L2's memory at GPA, in the tables on which the processor runs L2.
void shadow_map(uint64_t linear, uint64_t gpa, bool writable);

// L2 gets a page fault at LINEAR with ERROR_CODE when it goes on.
void inject_page_fault(uint64_t linear, uint32_t error_code);

// L2 accessed LINEAR, and the processor found no translation that allows it; ERROR_CODE is its.
// Ends with shadow_map(), and L2 tries again, or with inject_page_fault().
void handle_page_fault(uint64_t linear, uint32_t error_code);
