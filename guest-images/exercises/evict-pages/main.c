// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: sixteen pages of a guest in four pages of the host.
#include "guest-images/exercises/evict-pages/exercise.h"

static unsigned frames_used;

bool handle_violation(unsigned page) {
  // Lazy memory that is never taken back. Your code: when no frame is free, choose a page that has
  // one, keep what it holds with disk_write(), take it away from the guest, and give its frame to
  // PAGE. See Intel SDM, "Operations that Invalidate Cached Mappings" and "Guidelines for Use of
  // the INVEPT Instruction", for what it takes to take a page away.
  if (frames_used == kFrames) return false;
  const unsigned frame = frames_used++;
  disk_read(page, frame);
  window_entries[page] = frame_address(frame) | EPT_READ | EPT_WRITE | EPT_MEMORY_TYPE_WRITE_BACK;
  return true;
}
