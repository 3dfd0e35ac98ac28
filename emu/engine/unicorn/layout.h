// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where Unicorn keeps processor state that its API does not name. Offsets into an opaque context,
// and from there into the engine's own copy, found at start-up by planting known values; never
// assumed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestor::emu {

// Offsets in bytes into the saved context, but for `fault_address`.
struct Layout {
  size_t size = 0;  // of the whole context
  size_t gpr = 0, rip = 0, hflags = 0;
  size_t rflags = 0;    // all flags; while code runs, the status flags and DF are elsewhere
  size_t segments = 0;  // ES CS SS DS FS GS LDTR TR GDTR IDTR, kSegmentSize bytes each
  size_t cr = 0;        // CR0; CRn follows at 8 * n
  size_t efer = 0, kernel_gs_base = 0, error_code = 0, intercepts = 0;
  size_t fcw = 0, fsw = 0, fop = 0, mxcsr = 0;  // FSW without TOP
  // What the arithmetic keeps, as float_status of QEMU: rounding and exception flags.
  size_t x87_status = 0, sse_status = 0;
  // Into the engine object: the linear address of a refused page-table fill.
  size_t fault_address = 0;

  static constexpr size_t kSegmentSize = 24, kBaseAt = 8, kLimitAt = 16, kFlagsAt = 20;
  // In a float_status.
  static constexpr size_t kExceptionsAt = 2, kFlushToZeroAt = 4;
};

// The TLB, just before the registers: what its modes share, a slow part for each mode, a fast part
// for each, which generated code reads.
struct TlbPlace {
  static constexpr size_t kModes = 3, kCommon = 32;
  // A page's entry in a table, and what Unicorn keeps of it beside that.
  static constexpr size_t kEntry = 64, kAttributes = 16;
  // The slow part: where there are large pages, sizes and times, entries that were displaced, and
  // what belongs to the entries of the table.
  static constexpr size_t kLargePage = 16, kVictimsAt = 48, kVictims = 8;
  static constexpr size_t kAttributesAt = kVictimsAt + kVictims * (kEntry + kAttributes);
  static constexpr size_t kSlow = kAttributesAt + 8;
  // The fast part: the mask of an index, times kEntry, and the table.
  static constexpr size_t kTableAt = 8, kFast = 16;
  static constexpr size_t kMostBytes = kCommon + kModes * (kSlow + kFast) + 8;

  size_t size() const { return fast + kModes * kFast; }

  uint8_t* at = nullptr;
  size_t fast = 0;  // offset of the fast parts
};

}  // namespace nestor::emu
