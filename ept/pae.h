// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "ept/bits.h"
#include "ept/descent.h"
#include "ept/ordinary_entry.h"
#include "ept/paging_mode.h"

namespace nestor::ept {

/// PAE paging below the PDPTE registers: page directories and page tables of 64-bit entries.
struct Pae : OrdinaryEntry, RadixTables<std::uint64_t, 9> {
  static constexpr unsigned kLevels = 2;

  struct Rules {
    static constexpr bool flags_enabled = true;
    /// Bits 62:MAXPHYADDR; bit 63 too while IA32_EFER.NXE is 0.
    std::uint64_t reserved;

    constexpr explicit Rules(const PagingState& state)
        : reserved(bits(62, state.maxphyaddr) | (state.nxe ? 0 : kExecuteDisable)) {}
  };

  /// Which of the four PDPTE registers `linear` uses.
  static constexpr unsigned pdpte_index(std::uint64_t linear) {
    return static_cast<unsigned>(linear >> 30 & 3);
  }
  static constexpr bool maps_page(std::uint64_t entry, unsigned level, const Rules&) {
    return level == 1 || (entry & kPageSize) != 0;
  }
  static constexpr bool table_is_malformed(std::uint64_t entry, unsigned, const Rules& rules) {
    return (entry & rules.reserved) != 0;
  }
  static constexpr bool page_is_malformed(std::uint64_t entry, unsigned level, const Rules& rules) {
    return (entry & (rules.reserved | bits(page_bits(level) - 1, 13))) != 0;
  }
  static constexpr std::uint64_t page_address(std::uint64_t entry, unsigned level) {
    return entry & bits(51, page_bits(level));
  }
};

static_assert(Format<Pae>);
static_assert(12 + Pae::kLevels * Pae::kIndexBits + 2 == 32, "four PDPTEs and two tables");
static_assert(bits(Pae::page_bits(1) - 1, 13) == 0, "no alignment bits in a 4-KByte page's entry");
static_assert(bits(Pae::page_bits(2) - 1, 13) == 0x1f'e000);

/// Bits of a PDPTE that must be 0 when it is present: 2:1, 8:5 and 63:MAXPHYADDR.
[[nodiscard]] constexpr std::uint64_t pdpte_reserved_bits(unsigned maxphyaddr) {
  return bits(2, 1) | bits(8, 5) | bits(63, maxphyaddr);
}

/// Whether MOV to CR, or VM entry, may load these values into the PDPTE registers. If not, MOV to
/// CR causes #GP(0). Source: SDM volume 3A, "PDPTE Registers".
[[nodiscard]] constexpr bool pdptes_are_valid(const std::array<std::uint64_t, 4>& pdptes,
                                              unsigned maxphyaddr) {
  for (const std::uint64_t pdpte : pdptes) {
    if ((pdpte & OrdinaryEntry::kPresent) != 0 && (pdpte & pdpte_reserved_bits(maxphyaddr)) != 0) {
      return false;
    }
  }
  return true;
}

/// Reads the four PDPTEs that CR3 references (bits 31:5 of it) without checking them. Returns false
/// if memory could not deliver one. Under EPT pass a `TranslatedMemory` made for
/// `EptPurpose::kPdpteLoad`.
template <EntryReader M>
[[nodiscard]] constexpr bool read_pdptes(M& memory, std::uint64_t cr3,
                                         std::array<std::uint64_t, 4>& pdptes) {
  const std::uint64_t base = cr3 & bits(31, 5);
  for (unsigned i = 0; i != pdptes.size(); ++i) {
    if (!memory.read64(typename M::Address{base + 8 * i}, pdptes[i])) return false;
  }
  return true;
}

}  // namespace nestor::ept
