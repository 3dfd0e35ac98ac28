// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/bits.h"
#include "ept/descent.h"
#include "ept/ordinary_entry.h"
#include "ept/paging_mode.h"

namespace nestor::ept {

/// 4-level and 5-level paging, with pages of 4 KBytes, 2 MBytes and 1 GByte.
template <unsigned Levels>
requires(Levels == 4 || Levels == 5) struct Pt64 : OrdinaryEntry, RadixTables<std::uint64_t, 9> {
  static constexpr unsigned kLevels = Levels;
  static constexpr unsigned kProtectionKeyShift = 59;

  struct Rules {
    static constexpr bool flags_enabled = true;
    /// Bits 51:MAXPHYADDR; bit 63 too while IA32_EFER.NXE is 0.
    std::uint64_t reserved;
    /// The highest level at which bit 7 maps a page.
    unsigned largest_page_level;

    constexpr explicit Rules(const PagingState& state)
        : reserved(bits(51, state.maxphyaddr) | (state.nxe ? 0 : kExecuteDisable)),
          largest_page_level(state.page1gb ? 3 : 2) {}
  };

  static constexpr bool maps_page(std::uint64_t entry, unsigned level, const Rules& rules) {
    return level == 1 || (level <= rules.largest_page_level && (entry & kPageSize) != 0);
  }
  /// Where bit 7 does not map a page it is reserved.
  static constexpr bool table_is_malformed(std::uint64_t entry, unsigned, const Rules& rules) {
    return (entry & (rules.reserved | kPageSize)) != 0;
  }
  static constexpr bool page_is_malformed(std::uint64_t entry, unsigned level, const Rules& rules) {
    return (entry & (rules.reserved | bits(page_bits(level) - 1, 13))) != 0;
  }
  static constexpr std::uint64_t page_address(std::uint64_t entry, unsigned level) {
    return entry & bits(51, page_bits(level));
  }
  static constexpr std::uint64_t root(std::uint64_t cr3) { return cr3 & bits(51, 12); }
  /// The key of a page, from the entry that maps it: bits 62:59.
  static constexpr std::uint8_t protection_key(std::uint64_t entry) {
    return static_cast<std::uint8_t>(entry >> kProtectionKeyShift & 0xf);
  }
};

static_assert(Format<Pt64<4>> && Format<Pt64<5>>);
static_assert(12 + Pt64<4>::kLevels * Pt64<4>::kIndexBits == 48);
static_assert(12 + Pt64<5>::kLevels * Pt64<5>::kIndexBits == 57);
static_assert(Pt64<4>::page_bits(2) == 21 && Pt64<4>::page_bits(3) == 30);
static_assert(bit(Pt64<4>::kProtectionKeyShift + 4) == OrdinaryEntry::kExecuteDisable,
              "the key ends directly below execute disable");

}  // namespace nestor::ept
