// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "ept/bits.h"
#include "ept/descent.h"
#include "ept/memory.h"
#include "ept/paging_mode.h"
#include "ept/recorder.h"

namespace nestor::ept {

/// Tables of sub-page write permissions: SDM, "Determining an Access's Sub-Page Write Permission".
///
///     levels 4..2   bit 0 valid, bits 51:12 the next table, all others reserved
///     level 1       the vector of a page: bit 2n permits writes to its n-th 128 bytes,
///                   odd bits are reserved
struct SubPageTables : RadixTables<std::uint64_t, 9> {
  static constexpr unsigned kLevels = 4;
  static constexpr std::uint64_t kValid = bit(0);
  static constexpr unsigned kSubPageBits = 7;
  static constexpr std::uint64_t kPermissions = 0x5555'5555'5555'5555;

  static constexpr std::uint64_t reserved(unsigned maxphyaddr) {
    return bits(11, 1) | bits(63, maxphyaddr);
  }
  /// The permissions that a write of `size` (at least 1) bytes at `address` needs; what lies beyond
  /// the page is left out.
  static constexpr std::uint64_t needed(std::uint64_t address, unsigned size) {
    const std::uint64_t offset = address & low_bits(12);
    const std::uint64_t end = offset + size - 1;
    const auto first = static_cast<unsigned>(offset >> kSubPageBits);
    const auto last =
        static_cast<unsigned>((end < kPageSize ? end : kPageSize - 1) >> kSubPageBits);
    return bits(2 * last, 2 * first) & kPermissions;
  }
};

static_assert(kPageSize >> SubPageTables::kSubPageBits == 32,
              "two bits of the vector for a sub-page");
static_assert(SubPageTables::needed(0, 1) == 1 && SubPageTables::needed(127, 2) == 5 &&
              SubPageTables::needed(4095, 8) == bit(62));

enum class SubPageOutcome : std::uint8_t {
  kAllowed,
  kDenied,            ///< By the vector: an EPT violation.
  kMiss,              ///< An entry is not valid.
  kMisconfiguration,  ///< A valid entry, or the vector, sets a reserved bit.
  kUnreachable,       ///< Memory could not deliver an entry.
};

/// The entries that one look-up has read, from the top; without `Recorded` only their number.
template <bool Recorded>
struct SubPageSteps {
  unsigned count = 0;
  // Not initialized: few walks come here, and each would pay for it.
  std::array<std::uint64_t, kLongestSubPageWalk> address, entry;

  constexpr void add(std::uint64_t at, std::uint64_t value) {
    address[count] = at;
    entry[count++] = value;
  }
};
template <>
struct SubPageSteps<false> {
  unsigned count = 0;

  constexpr void add(std::uint64_t, std::uint64_t) { ++count; }
};

/// Whether sub-page write permissions allow `size` bytes at guest-physical `address` to be written.
template <EntryReader M, class Steps>
[[nodiscard]] constexpr SubPageOutcome look_up_sub_page(M& memory, const EptState& state,
                                                        std::uint64_t address, unsigned size,
                                                        Steps& walked) {
  using Memory = typename M::Address;
  std::uint64_t table = state.sub_page_table & bits(51, 12);
  for (unsigned level = SubPageTables::kLevels;; --level) {
    const Memory at{table + SubPageTables::entry_offset(address, level)};
    std::uint64_t entry = 0;
    if (!memory.read64(at, entry)) return SubPageOutcome::kUnreachable;
    walked.add(at.value, entry);
    if (level == 1) {
      if ((entry & ~SubPageTables::kPermissions) != 0) return SubPageOutcome::kMisconfiguration;
      return (~entry & SubPageTables::needed(address, size)) == 0 ? SubPageOutcome::kAllowed
                                                                  : SubPageOutcome::kDenied;
    }
    if ((entry & SubPageTables::kValid) == 0) return SubPageOutcome::kMiss;
    if ((entry & SubPageTables::reserved(state.maxphyaddr)) != 0) {
      return SubPageOutcome::kMisconfiguration;
    }
    table = entry & bits(51, 12);
  }
}

}  // namespace nestor::ept
