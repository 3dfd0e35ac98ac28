// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "ept/bits.h"
#include "ept/descent.h"
#include "ept/ordinary_entry.h"
#include "ept/paging_mode.h"

namespace nestor::ept {

/// 32-bit paging with 4-MByte pages (PSE) and 40-bit addresses of them (PSE-36).
struct Pt32 : OrdinaryEntry, RadixTables<std::uint32_t, 10> {
  static constexpr unsigned kLevels = 2;

  /// A PDE that maps a 4-MByte page holds bits 39:32 of the address in its bits 20:13.
  static constexpr unsigned kHighAddressBit = 13;
  static constexpr unsigned kWidestAddress = 40;

  struct Rules {
    static constexpr bool flags_enabled = true;
    bool large_pages;
    std::uint64_t reserved_in_large_page;

    constexpr explicit Rules(const PagingState& state) : large_pages(state.pse) {
      const unsigned width =
          state.pse36 ? std::clamp<unsigned>(state.maxphyaddr, 32, kWidestAddress) : 32U;
      reserved_in_large_page = bit(21) | bits(20, kHighAddressBit + width - 32);
    }
  };

  static constexpr bool maps_page(std::uint64_t entry, unsigned level, const Rules& rules) {
    return level == 1 || (rules.large_pages && (entry & kPageSize) != 0);
  }
  static constexpr bool table_is_malformed(std::uint64_t, unsigned, const Rules&) { return false; }
  static constexpr bool page_is_malformed(std::uint64_t entry, unsigned level, const Rules& rules) {
    return level != 1 && (entry & rules.reserved_in_large_page) != 0;
  }
  static constexpr std::uint64_t page_address(std::uint64_t entry, unsigned level) {
    if (level == 1) return entry & bits(31, 12);
    return (entry & bits(31, 22)) | (entry & bits(20, kHighAddressBit)) << (32 - kHighAddressBit);
  }
  /// CR3 holds a 4-KByte aligned address of 32 bits.
  static constexpr std::uint64_t root(std::uint64_t cr3) { return cr3 & bits(31, 12); }
};

static_assert(Format<Pt32>);
static_assert(12 + Pt32::kLevels * Pt32::kIndexBits == 32, "two tables cover a 32-bit address");
static_assert(Pt32::page_address(bit(20), 2) == bit(39) && Pt32::page_bits(2) == 22);
static_assert(Pt32::page_address(bit(13), 2) == bit(32));

}  // namespace nestor::ept
