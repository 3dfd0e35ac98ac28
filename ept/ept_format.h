// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/bits.h"
#include "ept/descent.h"
#include "ept/flags.h"
#include "ept/paging_mode.h"

namespace nestor::ept {

/// Bits of EPT paging-structure entries: SDM, "Formats of EPTP and EPT Paging-Structure Entries".
///
///     bit  0   read access           bits 5:3  memory type (entries that map a page)
///     bit  1   write access          bit  6    ignore PAT (entries that map a page)
///     bit  2   execute access        bit  7    page size, ignored in the last level
///     bit 10   execute access for user-mode linear addresses
///
/// and in entries that map a page, each ignored unless a control gives it its meaning:
///
///     bit 57   verify guest paging   bit 61   sub-page write permissions (4-KByte pages)
///     bit 58   paging-write access   bit 63   suppress #VE (also in entries that are not present)
///
/// Bit 60 is for supervisor shadow stacks and ignored, as by a processor without them.
struct EptEntry {
  static constexpr std::uint64_t kRead = bit(0);
  static constexpr std::uint64_t kWrite = bit(1);
  static constexpr std::uint64_t kExecute = bit(2);
  static constexpr unsigned kMemoryTypeShift = 3;
  static constexpr std::uint64_t kMemoryType = bits(5, 3);
  static constexpr std::uint64_t kIgnorePat = bit(6);
  static constexpr std::uint64_t kPageSize = bit(7);
  static constexpr std::uint64_t kExecuteUser = bit(10);
  static constexpr std::uint64_t kVerifyGuestPaging = bit(57);
  static constexpr std::uint64_t kPagingWrite = bit(58);
  static constexpr std::uint64_t kSubPageWrite = bit(61);
  static constexpr std::uint64_t kSuppressVe = bit(63);

  /// The value of bits 5:3.
  [[nodiscard]] static constexpr unsigned memory_type(std::uint64_t entry) {
    return static_cast<unsigned>((entry & kMemoryType) >> kMemoryTypeShift);
  }
};

/// Where EPT keeps accessed and dirty flags, once EPTP bit 6 enables them.
using EptFlags = AccessedDirtyFlags<8, 9>;

/// EPT with `Levels` levels. `EntryFlags` is `NoAccessedDirtyFlags` for a processor without the
/// flags: then no code that could set one exists.
template <unsigned Levels, class EntryFlags = EptFlags>
requires(Levels == 4 || Levels == 5) struct Ept : EptEntry, RadixTables<std::uint64_t, 9> {
  using Flags = EntryFlags;
  static constexpr Dimension kDimension = Dimension::kEpt;
  static constexpr unsigned kLevels = Levels;
  /// Every right is granted by a 1.
  static constexpr std::uint64_t kInverted = 0;

  struct Rules {
    bool flags_enabled;
    bool large_page[Levels + 1];
    /// An entry is present if any of these is 1.
    std::uint64_t present;
    /// Bits 51:MAXPHYADDR.
    std::uint64_t reserved;
    /// Rights that need read access besides; and those of an entry that maps a page.
    std::uint64_t needs_read;
    std::uint64_t needs_read_in_page;

    constexpr explicit Rules(const EptState& state)
        : flags_enabled(state.eptp.accessed_dirty()),
          large_page{},
          present(kRead | kWrite | kExecute | (state.mode_based_execute ? kExecuteUser : 0)),
          reserved(bits(51, state.maxphyaddr)),
          needs_read(state.execute_only ? kWrite : present & ~kRead),
          needs_read_in_page(needs_read | (state.paging_write_control ? kPagingWrite : 0)) {
      large_page[1] = true;
      large_page[2] = state.page2mb;
      large_page[3] = state.page1gb;
    }
  };

  static constexpr bool is_present(std::uint64_t entry, const Rules& rules) {
    return (entry & rules.present) != 0;
  }
  static constexpr bool maps_page(std::uint64_t entry, unsigned level, const Rules& rules) {
    return level == 1 || ((entry & kPageSize) != 0 && rules.large_page[level]);
  }
  /// Write or execute access without the read access that it needs.
  static constexpr bool rights_are_malformed(std::uint64_t entry, std::uint64_t needs_read) {
    return (entry & kRead) == 0 && (entry & needs_read) != 0;
  }
  /// Bits 7:3: bit 7 is reserved where it does not map a page.
  static constexpr bool table_is_malformed(std::uint64_t entry, unsigned, const Rules& rules) {
    return (entry & (rules.reserved | bits(7, 3))) != 0 ||
           rights_are_malformed(entry, rules.needs_read);
  }
  static constexpr bool page_is_malformed(std::uint64_t entry, unsigned level, const Rules& rules) {
    // Memory types 2, 3 and 7 are reserved.
    constexpr unsigned kReservedTypes = 1U << 2 | 1U << 3 | 1U << 7;
    return (entry & (rules.reserved | bits(page_bits(level) - 1, 12))) != 0 ||
           (kReservedTypes >> memory_type(entry) & 1) != 0 ||
           rights_are_malformed(entry, rules.needs_read_in_page);
  }
  static constexpr std::uint64_t table_address(std::uint64_t entry) { return entry & bits(51, 12); }
  static constexpr std::uint64_t page_address(std::uint64_t entry, unsigned level) {
    return entry & bits(51, page_bits(level));
  }
};

static_assert(Format<Ept<4>> && Format<Ept<5>> && Format<Ept<4, NoAccessedDirtyFlags>>);
static_assert(EptFlags::kAccessed == 0x100 && EptFlags::kDirty == 0x200);
static_assert((EptEntry::kMemoryType | EptEntry::kIgnorePat | EptEntry::kPageSize) == bits(7, 3),
              "what maps a page in bits 7:3 is reserved in an entry that references a table");
static_assert(EptEntry::kWrite == EptEntry::kRead << 1 && EptEntry::kExecute == EptEntry::kRead
                                                                                    << 2,
              "the exit qualification holds these three in the same order");
static_assert(((EptFlags::kAccessed | EptFlags::kDirty) &
               (EptEntry::kRead | EptEntry::kWrite | EptEntry::kExecute | EptEntry::kMemoryType |
                EptEntry::kIgnorePat | EptEntry::kPageSize | EptEntry::kExecuteUser | bits(51, 12) |
                EptEntry::kVerifyGuestPaging | EptEntry::kPagingWrite | EptEntry::kSubPageWrite |
                EptEntry::kSuppressVe)) == 0,
              "setting a flag changes no right, address or attribute");
static_assert(EptEntry::kVerifyGuestPaging << 1 == EptEntry::kPagingWrite &&
                  (EptEntry::kSubPageWrite & bits(51, 0)) == 0,
              "the bits that controls define lie above every address");
static_assert(bits(Ept<4>::page_bits(1) - 1, 12) == 0, "no alignment bits in an EPT PTE");

}  // namespace nestor::ept
