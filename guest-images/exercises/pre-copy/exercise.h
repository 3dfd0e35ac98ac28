// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c, which calls it, have in common.
#pragma once

#include <stdint.h>

// L2's memory: guest-physical address, and its pages of 4 KBytes.
#define GUEST_MEMORY 0x20000000ull
enum { kGuestPages = 1024 };

enum { kLogEntries = 512 };

// What writes to L2's memory leave behind.
typedef struct {
  volatile uint64_t* ept_entries;  // the entry of each page, in order
  volatile uint64_t* log;  // the page-modification log: kLogEntries guest-physical addresses
  uint64_t eptp;
} Tracking;

// Copies a page of L2's memory, by its number, to the destination.
void send_page(unsigned page);

// Sends each page that L2 has written since the last call, and makes all ready for the next one.
// Called after each round, and when the log is full.
void send_written_pages(const Tracking* tracking);
