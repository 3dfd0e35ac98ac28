// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: a page walk in two dimensions. The one in one dimension is there.
#include "guest-images/exercises/count-references/exercise.h"

enum { kPresent = 1 << 0, kPageSize = 1 << 7 };
#define ADDRESS 0x000ffffffffff000ull

// The linear-address bits that choose an entry at LEVEL, 4 to 1, and those below them.
static uint64_t index_of(uint64_t address, unsigned level) {
  return address >> (12 + 9 * (level - 1)) & 511;
}
static uint64_t offset_mask(unsigned level) { return (1ull << (12 + 9 * (level - 1))) - 1; }

Walk walk(uint64_t cr3, uint64_t linear) {
  Walk result = {kPageFault, 0, 0};
  uint64_t table = cr3 & ADDRESS;
  for (unsigned level = 4; level >= 1; level--) {
    const uint64_t entry = read_entry(table + 8 * index_of(linear, level));
    result.references++;
    if (!(entry & kPresent)) return result;
    if (level == 1 || (level < 4 && entry & kPageSize)) {
      const uint64_t page = entry & ADDRESS & ~offset_mask(level);
      result.outcome = kTranslated;
      result.address = page | (linear & offset_mask(level));
      return result;
    }
    table = entry & ADDRESS;
  }
  return result;
}

Walk walk_nested(uint64_t cr3, uint64_t eptp, uint64_t linear) {
  // Your code, in place of these lines, which take guest-physical addresses for physical ones. An
  // EPT entry is present if any of its bits 2:0 is 1; its bit 7 and its address are as above. Need
  // not be looked at: permissions, reserved bits, accessed and dirty flags.
  (void)eptp;
  return walk(cr3, linear);
}
