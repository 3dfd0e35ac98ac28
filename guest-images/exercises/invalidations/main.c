// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: invalidate where it is needed, and nowhere else.
#include "guest-images/exercises/invalidations/exercise.h"

void invalidate_after(Change change, const Context* context) {
  switch (change) {
    // Your code: invept(), invvpid() or invvpid_address() for those that need it. Intel SDM,
    // "Operations that Invalidate Cached Mappings", "Guidelines for Use of the INVVPID Instruction"
    // and "Guidelines for Use of the INVEPT Instruction".
    case kPageMapped:
    case kPageExchanged:
    case kRightAdded:
    case kRightTaken:
    case kGuestRemapped:
    case kVpidReused:
    case kVpidFirstUsed:
    case kEptFirstUsed:
    case kTableExchanged:
    case kEptUsedAgain:
    case kEptChangedIdle:
      break;
  }
  (void)context;
}
