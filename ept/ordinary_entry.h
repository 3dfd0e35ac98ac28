// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/bits.h"
#include "ept/flags.h"
#include "ept/recorder.h"

namespace nestor::ept {

/// Bits that the entries of every ordinary paging mode share: SDM volume 3A, "Paging".
///
///     bit  0  present               bit  5  accessed
///     bit  1  read/write            bit  6  dirty (entries that map a page)
///     bit  2  user/supervisor       bit  7  page size, or PAT in the last level
///     bit  3  page-level write-through
///     bit  4  page-level cache disable
///     bit  8  global (entries that map a page)
struct OrdinaryEntry {
  static constexpr std::uint64_t kPresent = bit(0);
  static constexpr std::uint64_t kWritable = bit(1);
  static constexpr std::uint64_t kUser = bit(2);
  static constexpr std::uint64_t kWriteThrough = bit(3);
  static constexpr std::uint64_t kCacheDisable = bit(4);
  static constexpr std::uint64_t kPageSize = bit(7);
  static constexpr std::uint64_t kPatInPte = bit(7);
  static constexpr std::uint64_t kGlobal = bit(8);
  static constexpr std::uint64_t kPatInLargePage = bit(12);
  static constexpr std::uint64_t kExecuteDisable = bit(63);

  using Flags = AccessedDirtyFlags<5, 6>;
  static constexpr Dimension kDimension = Dimension::kGuest;
  /// A 1 in bit 63 forbids instruction fetches. In a zero-extended 32-bit entry it is always 0.
  static constexpr std::uint64_t kInverted = kExecuteDisable;

  template <class Rules>
  static constexpr bool is_present(std::uint64_t entry, const Rules&) {
    return (entry & kPresent) != 0;
  }
  static constexpr std::uint64_t table_address(std::uint64_t entry) { return entry & bits(51, 12); }
  /// Index of the entry in the PAT: PAT, PCD and PWT as a number of three bits.
  [[nodiscard]] static constexpr std::uint8_t pat_index(std::uint64_t entry, unsigned level) {
    const std::uint64_t pat = level == 1 ? kPatInPte : kPatInLargePage;
    return static_cast<std::uint8_t>((entry & kWriteThrough ? 1U : 0U) |
                                     (entry & kCacheDisable ? 2U : 0U) | (entry & pat ? 4U : 0U));
  }
};

static_assert(OrdinaryEntry::Flags::kAccessed == 0x20 && OrdinaryEntry::Flags::kDirty == 0x40);
static_assert(OrdinaryEntry::kPageSize == OrdinaryEntry::kPatInPte,
              "bit 7 is the page size above the last level and PAT in it");
static_assert(OrdinaryEntry::kCacheDisable == OrdinaryEntry::kWriteThrough << 1,
              "PCD lies directly above PWT");

}  // namespace nestor::ept
