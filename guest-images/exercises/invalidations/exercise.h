// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c, which calls it, have in common.
#pragma once

#include <stdint.h>

// What L1 has just done. L2 has used its memory before, wherever that is possible.
typedef enum {
  kPageMapped,      // after an EPT violation: the EPT entry was not present, and now maps a page
  kPageExchanged,   // the EPT entry of a page maps another page
  kRightAdded,      // after an EPT violation: the EPT entry of a page now allows writes
  kRightTaken,      // the EPT entry of a page does not allow writes any more
  kGuestRemapped,   // in L2's own page tables: the linear address leads to another page
  kVpidReused,      // another virtual processor, with another CR3, runs with this VPID
  kVpidFirstUsed,   // a virtual processor gets a VPID that has never been used
  kEptFirstUsed,    // L2 gets an EPT whose EPTP has never been used
  kTableExchanged,  // an EPT paging structure takes the place of another one
  kEptUsedAgain,    // L2 gets back an EPT that has not changed since L2 used it
  kEptChangedIdle,  // L2 gets back an EPT; an entry that mapped a page maps another one since
} Change;

// With what L2 goes on.
typedef struct {
  uint64_t eptp;
  uint16_t vpid;
  uint64_t linear;  // for kGuestRemapped: which address
} Context;

// The instructions, single-context and by address; each call is counted.
void invept(uint64_t eptp);
void invvpid(uint16_t vpid);
void invvpid_address(uint16_t vpid, uint64_t linear);

// Called after each change, before L2 goes on. Invalidates what may be stale, and no more.
void invalidate_after(Change change, const Context* context);
