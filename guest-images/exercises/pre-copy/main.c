// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: find the pages that L2 has written, send each of them, and none besides.
#include "guest-images/exercises/pre-copy/exercise.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"

void send_written_pages(const Tracking* tracking) {
  // Your code. Accessed and dirty flags for EPT are on, and so is page-modification logging: Intel
  // SDM, "Page-Modification Logging".
  //   1. The log is filled from its last entry downward; the VMCS field kGuestPmlIndex, of 16 bits,
  //      is the entry that comes next. It may have gone below 0.
  //   2. The log has all guest-physical addresses, those outside L2's memory too.
  //   3. A page that is dirty already is not logged again, neither for its EPT entry (EPT_DIRTY)
  //      nor for what the processor has cached of it: vmx_invalidate_ept().
  (void)tracking;
}
