// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "ept/bits.h"
#include "ept/paging_mode.h"
#include "tests/ept/table_memory.h"

namespace nestor::ept::testing {

/// Maps addresses by hand: one chain of tables for each mapping, in pages taken from a pool.
class TableBuilder {
 public:
  explicit TableBuilder(std::uint64_t first_page = 0x1000) : next_page_(first_page) {}

  TableMemory<PhysicalAddress> memory{1 << 20, /*bounded=*/true};

  std::uint64_t take_page() {
    const std::uint64_t page = next_page_;
    next_page_ += 4096;
    return page;
  }

  /// Entry addresses of one mapping, by level; [0] is unused.
  using Chain = std::array<std::uint64_t, 6>;

  /// Follows `address` down to `page_level`, making tables as needed, and maps `target` there.
  /// `index_bits` is 10 for 32-bit paging, otherwise 9.
  Chain map(std::uint64_t root, unsigned levels, unsigned page_level, std::uint64_t address,
            std::uint64_t target, std::uint64_t table_flags, std::uint64_t page_flags,
            unsigned index_bits = 9) {
    Chain chain{};
    std::uint64_t table = root;
    for (unsigned level = levels;; --level) {
      const std::uint64_t index = address >> (12 + index_bits * (level - 1)) & low_bits(index_bits);
      chain[level] = table + index * (index_bits == 10 ? 4 : 8);
      if (level == page_level) {
        put(chain[level], target | page_flags | (level > 1 ? bit(7) : 0), index_bits);
        return chain;
      }
      std::uint64_t entry = get(chain[level], index_bits);
      if (entry == 0) {
        entry = take_page() | table_flags;
        put(chain[level], entry, index_bits);
      }
      table = entry & bits(51, 12);
    }
  }

  std::uint64_t get(std::uint64_t address, unsigned index_bits = 9) {
    const std::uint64_t value = memory.get64(address & ~std::uint64_t{7});
    if (index_bits == 9) return value;
    return (address & 4) != 0 ? value >> 32 : value & low_bits(32);
  }
  void put(std::uint64_t address, std::uint64_t value, unsigned index_bits = 9) {
    if (index_bits == 9) {
      memory.write(address, value);
    } else {
      memory.write(address, static_cast<std::uint32_t>(value));
    }
  }

 private:
  std::uint64_t next_page_;
};

/// A guest page mapped through guest tables and EPT, with every entry at hand.
///
/// Guest tables lie at guest-physical `kTables` and up; EPT maps every guest-physical page that is
/// used one to one, the guest's page itself with a page of `ept_level`.
class NestedFixture {
 public:
  static constexpr std::uint64_t kLinear = 0x4000'1000;
  static constexpr std::uint64_t kGuestPage = 0x8000'0000;  // 1-GByte aligned
  static constexpr std::uint64_t kHostPage = 0xc000'0000;   // 1-GByte aligned
  static constexpr std::uint64_t kAll = 7;
  static constexpr std::uint64_t kWriteBack = 6U << 3;
  static constexpr unsigned kFlagsEnabled = 1U << 6;

  explicit NestedFixture(PagingMode mode = PagingMode::k4Level, unsigned guest_page_level = 1,
                         unsigned ept_page_level = 1, unsigned ept_levels = 4,
                         unsigned ept_table_page_level = 1) {
    paging.mode = mode;
    paging.wp = paging.nxe = paging.pse = true;
    levels = mode == PagingMode::k5Level ? 5 : mode == PagingMode::k4Level ? 4 : 2;
    if (mode == PagingMode::kNone) levels = 0;
    index_bits = mode == PagingMode::k32Bit ? 10 : 9;
    ept.eptp.value = tables.take_page() | (ept_levels - 1) << 3 | 6;
    if (levels != 0) {
      final_gpa = kGuestPage | (kLinear & low_bits(12 + index_bits * (guest_page_level - 1)));
      const std::uint64_t root = tables.take_page();
      if (mode == PagingMode::kPae) {
        paging.pdptes = {0, root | 1, 0, 0};
      } else {
        paging.cr3 = root;
      }
      guest =
          tables.map(root, levels, guest_page_level, kLinear, kGuestPage, kAll, kAll, index_bits);
      for (unsigned level = guest_page_level; level <= levels; ++level) {
        const std::uint64_t page = guest[level] & ~low_bits(12);
        const unsigned shift = 12 + 9 * (ept_table_page_level - 1);
        const std::uint64_t base = page & ~low_bits(shift);
        guest_tables_ept[level] = tables.map(ept.eptp.root(), ept_levels, ept_table_page_level,
                                             page, base, kAll, kAll | kWriteBack);
      }
    }
    final_ept = tables.map(ept.eptp.root(), ept_levels, ept_page_level, final_gpa, kHostPage, kAll,
                           kAll | kWriteBack);
  }

  TableBuilder tables;
  /// What `kLinear` translates to before EPT.
  std::uint64_t final_gpa = kLinear;
  PagingState paging;
  EptState ept;
  unsigned levels = 0;
  unsigned index_bits = 9;
  TableBuilder::Chain guest{};
  std::array<TableBuilder::Chain, 6> guest_tables_ept{};
  TableBuilder::Chain final_ept{};
};

}  // namespace nestor::ept::testing
