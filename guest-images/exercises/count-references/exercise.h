// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c have of each other.
#pragma once

#include <stdint.h>

typedef enum {
  kTranslated,
  kPageFault,     // a paging-structure entry is not present
  kEptViolation,  // an EPT entry is not present
} WalkOutcome;

typedef struct {
  WalkOutcome outcome;
  // kTranslated: the physical address. kEptViolation: the guest-physical address that could not be
  // translated. Otherwise 0.
  uint64_t address;
  unsigned references;  // entries that were read, of both dimensions
} Walk;

// Translates LINEAR by the paging structures of CR3 alone: those are physical addresses.
Walk walk(uint64_t cr3, uint64_t linear);

// Translates LINEAR of L2, whose CR3 and paging-structure entries have guest-physical addresses,
// which the EPT of EPTP translates.
Walk walk_nested(uint64_t cr3, uint64_t eptp, uint64_t linear);

// The entry at a physical address, a multiple of 8. Ends the image where L1 has put no table. From
// check.c, which counts the calls.
uint64_t read_entry(uint64_t physical);
