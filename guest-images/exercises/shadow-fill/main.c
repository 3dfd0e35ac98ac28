// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: the page-fault handler of a hypervisor that has no EPT.
#include "guest-images/exercises/shadow-fill/exercise.h"

void handle_page_fault(uint64_t linear, uint32_t error_code) {
  // Your code, in place of these lines, which give L2 any page that it asks for.
  //   1. Walk L2's own tables, from guest_cr3() through the four levels. All of L2's pages have
  //      4 KBytes. Bits 47:39, 38:30, 29:21 and 20:12 of a linear address choose the entries.
  //   2. Is the fault L2's own? Then L2 gets it, with the error code that L2's tables would have
  //      caused. CR0.WP is 1: a write needs PTE_WRITABLE at each level.
  //   3. If it is not, set what the processor would have set in L2's tables: PTE_ACCESSED in each
  //      entry, and PTE_DIRTY in the last one for a write.
  //   4. shadow_map(). With which right, so that you see the first write to a page that is clean?
  (void)error_code;
  shadow_map(linear, linear, true);
}
