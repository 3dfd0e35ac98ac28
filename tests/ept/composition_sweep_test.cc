// SPDX-License-Identifier: MIT

// The number of references of a walk, against the formula, for every combination of levels and page
// sizes of its dimensions. Entries written back are counted apart.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

constexpr std::uint64_t kAll = 7;
constexpr std::uint64_t kWriteBack = 6U << 3;
constexpr LinearAddress kLinear{0};

struct Guest {
  PagingMode mode;
  unsigned levels;
  unsigned largest_page;
};

constexpr Guest kGuests[] = {{PagingMode::k32Bit, 2, 2},
                             {PagingMode::kPae, 2, 2},
                             {PagingMode::k4Level, 4, 3},
                             {PagingMode::k5Level, 5, 3}};

/// All sequences of `count` page levels, 1..3 each.
std::vector<std::vector<unsigned>> mixtures(unsigned count) {
  std::vector<std::vector<unsigned>> all = {{}};
  for (unsigned i = 0; i != count; ++i) {
    std::vector<std::vector<unsigned>> longer;
    for (const auto& start : all) {
      for (unsigned page = 1; page <= 3; ++page) {
        longer.push_back(start);
        longer.back().push_back(page);
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::string text_of(const Guest& guest, unsigned guest_page, unsigned ept_levels,
                    const std::vector<unsigned>& pages) {
  std::string text = std::to_string(guest.levels) + " levels, page " + std::to_string(guest_page) +
                     ", EPT levels " + std::to_string(ept_levels) + ", pages";
  for (const unsigned page : pages) text += " " + std::to_string(page);
  return text;
}

/// A guest page whose tables, and itself, lie in guest-physical regions of their own, each mapped
/// by EPT with a page size of its own. All is backed by the first megabyte.
class MixedPages {
 public:
  /// `ept_pages`: the page level for each table of the guest from the top, then for its page.
  MixedPages(const Guest& guest, unsigned guest_page, unsigned ept_levels,
             const std::vector<unsigned>& ept_pages) {
    paging.mode = guest.mode;
    paging.wp = paging.pse = paging.nxe = true;
    ept.eptp.value = tables.take_page() | (ept_levels - 1) << 3 | 6 | 1U << 6;
    const bool narrow = guest.mode == PagingMode::k32Bit;
    unsigned region = 0;
    std::uint64_t entry = 0;  // where the address of the next table is to be written; 0: a root
    for (unsigned level = guest.levels; level >= guest_page; --level, ++region) {
      const std::uint64_t page = tables.take_page();
      const std::uint64_t guest_physical = map(region, ept_pages[region], page, narrow);
      if (entry != 0) {
        tables.put(entry, guest_physical | kAll, narrow ? 10 : 9);
      } else if (guest.mode == PagingMode::kPae) {
        paging.pdptes[0] = guest_physical | 1;
      } else {
        paging.cr3 = guest_physical;
      }
      entry = page;
    }
    // The page: its first byte, in a region that is aligned to every size.
    const std::uint64_t page = map(region, ept_pages[region], 0, narrow);
    tables.put(entry, page | kAll | (guest_page > 1 ? bit(7) : 0), narrow ? 10 : 9);
  }

  TableBuilder tables;
  PagingState paging;
  EptState ept;

 private:
  /// Maps the region and returns where `page` is in it. Regions of 32-bit paging lie below 4
  /// GBytes.
  std::uint64_t map(unsigned region, unsigned page_level, std::uint64_t page, bool narrow) {
    const std::uint64_t base = narrow ? std::uint64_t{region + 1} << 30
                                      : std::uint64_t{region + 1} << 39 | std::uint64_t{1} << 30;
    const std::uint64_t offset = page & ~low_bits(12 + 9 * (page_level - 1));
    tables.map(ept.eptp.root(), ept.eptp.walk_length(), page_level, base | page, offset, kAll,
               kAll | kWriteBack);
    return base | page;
  }
};

TEST(CompositionSweep, OneDimension) {
  for (const Guest& guest : kGuests) {
    for (unsigned guest_page = 1; guest_page <= guest.largest_page; ++guest_page) {
      const unsigned used = guest.levels - guest_page + 1;
      MixedPages world(guest, guest_page, 4, std::vector<unsigned>(used + 1, 1));
      // Without EPT the tables are where the guest believes them to be.
      TableBuilder flat;
      const std::uint64_t root = flat.take_page();
      PagingState paging = world.paging;
      paging.cr3 = root;
      paging.pdptes = {root | 1, 0, 0, 0};
      flat.map(root, guest.levels, guest_page, 0, 0, kAll, kAll,
               guest.mode == PagingMode::k32Bit ? 10 : 9);
      const auto first = walk_linear(flat.memory, paging, kLinear, {Access::kWrite});
      const auto second = walk_linear(flat.memory, paging, kLinear, {Access::kWrite});
      ASSERT_TRUE(first.translated() && second.translated());
      EXPECT_EQ(first.counts.references, used);
      EXPECT_EQ(first.counts.updates, used);
      EXPECT_EQ(second.counts.references, used);
      EXPECT_EQ(second.counts.updates, 0U);
    }
  }
}

TEST(CompositionSweep, TwoDimensionsWithEveryMixtureOfPageSizes) {
  unsigned combinations = 0;
  for (const Guest& guest : kGuests) {
    for (unsigned guest_page = 1; guest_page <= guest.largest_page; ++guest_page) {
      const unsigned used = guest.levels - guest_page + 1;
      for (unsigned ept_levels = 4; ept_levels <= 5; ++ept_levels) {
        for (const auto& pages : mixtures(used + 1)) {
          SCOPED_TRACE(text_of(guest, guest_page, ept_levels, pages));
          MixedPages world(guest, guest_page, ept_levels, pages);
          unsigned formula = 0;
          for (unsigned i = 0; i != used; ++i) formula += ept_levels - pages[i] + 1 + 1;
          formula += ept_levels - pages[used] + 1;
          const auto walk = [&world] {
            return walk_nested(world.tables.memory, world.paging, world.ept, kLinear,
                               {Access::kWrite});
          };
          const auto first = walk();
          ASSERT_TRUE(first.translated());
          EXPECT_EQ(first.references(), formula);
          EXPECT_EQ(first.guest_counts.references, used);
          EXPECT_EQ(first.guest_counts.updates, used);
          EXPECT_EQ(first.updates(), world.tables.memory.updates.size());
          const auto second = walk();
          EXPECT_EQ(second.references(), formula);
          EXPECT_EQ(second.updates(), 0U);
          ++combinations;
          if (HasFailure()) return;
        }
      }
    }
  }
  // 3^(used+1) mixtures for each page size of each mode, with 4 and 5 levels of EPT.
  EXPECT_EQ(combinations, 2 * ((27 + 9) * 2 + (243 + 81 + 27) + (729 + 243 + 81)));
}

/// CR3 over EPT12 over EPT01, nothing shadowed.
TEST(CompositionSweep, ThreeDimensions) {
  unsigned combinations = 0;
  for (unsigned guest_levels = 4; guest_levels <= 5; ++guest_levels) {
    const PagingMode mode = guest_levels == 5 ? PagingMode::k5Level : PagingMode::k4Level;
    for (unsigned sizes = 0; sizes != 2 * 2 * 27; ++sizes) {
      const unsigned levels12 = 4 + sizes % 2, levels01 = 4 + sizes / 2 % 2;
      const unsigned guest_page = 1 + sizes / 4 % 3, table_page = 1 + sizes / 12 % 3,
                     final_page = 1 + sizes / 36 % 3;
      for (unsigned sizes01 = 0; sizes01 != 9; ++sizes01) {
        const unsigned low_page = 1 + sizes01 % 3, high_page = 1 + sizes01 / 3;
        NestedFixture f(mode, guest_page, final_page, levels12, table_page);
        f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
        // EPT01 maps the megabyte of tables one to one, and the page at the end to address 0.
        EptState ept01;
        ept01.eptp.value = f.tables.take_page() | (levels01 - 1) << 3 | 6 | 1U << 6;
        for (std::uint64_t at = 0; at < (low_page == 1 ? 1U << 20 : 1U); at += 4096) {
          f.tables.map(ept01.eptp.root(), levels01, low_page, at, at, kAll, kAll | kWriteBack);
        }
        const std::uint64_t page =
            NestedFixture::kHostPage + (f.final_gpa & low_bits(12 + 9 * (final_page - 1)));
        f.tables.map(ept01.eptp.root(), levels01, high_page, page, 0, kAll, kAll | kWriteBack);

        TableMemory<HostPhysicalAddress> host(1 << 20);
        for (std::uint64_t address = 0; address != 1 << 20; address += 8) {
          host.write(address, f.tables.memory.get64(address));
        }
        const auto count = [&](unsigned& updates) {
          NoSteps none;
          TranslatedMemory<PhysicalAddress, UpdateFlags, TableMemory<HostPhysicalAddress>, NoSteps>
              l1(host, ept01, none);
          const auto walk = walk_nested(l1, f.paging, f.ept, LinearAddress{NestedFixture::kLinear},
                                        {Access::kWrite});
          EXPECT_TRUE(walk.translated());
          EXPECT_EQ(walk.address.value, page);
          EptAccess access;
          access.write = true;
          const auto last = walk_ept(host, ept01, walk.address, access);
          EXPECT_TRUE(last.translated());
          updates = walk.updates() + l1.counts().updates + last.counts.updates;
          return walk.references() + l1.counts().references + last.counts.references;
        };
        const unsigned used = guest_levels - guest_page + 1;
        const unsigned per_table = levels12 - table_page + 1, last12 = levels12 - final_page + 1;
        const unsigned low = levels01 - low_page + 1, high = levels01 - high_page + 1;
        const unsigned formula = (used * (per_table + 1) + last12) * (low + 1) + high;
        SCOPED_TRACE(::testing::Message()
                     << "guest levels " << guest_levels << " page " << guest_page << ", EPT12 "
                     << levels12 << " pages " << table_page << final_page << ", EPT01 " << levels01
                     << " pages " << low_page << high_page);
        unsigned updates = 0;
        EXPECT_EQ(count(updates), formula);
        EXPECT_GT(updates, used);
        EXPECT_EQ(updates, host.updates.size());
        if (guest_levels == 4 && levels12 == 4 && levels01 == 4 && sizes / 4 == 0 && sizes01 == 0) {
          EXPECT_EQ(formula, 124U);
        }
        EXPECT_EQ(count(updates), formula);
        EXPECT_EQ(updates, 0U);
        ++combinations;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_EQ(combinations, 2U * 4 * 27 * 9);
}

}  // namespace
}  // namespace nestor::ept::testing
