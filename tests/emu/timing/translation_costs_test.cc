// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/translation_costs.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

using ept::Dimension;
using ept::Invalidation;
using ept::MappingTag;
using ept::Step;

constexpr uint64_t kGuestTables = 0x10'0000, kEptTables = 0x4000'0000;

// The entry of a tree of tables that translates `address` at a level: a table for each region.
uint64_t entry_address(uint64_t tables, unsigned level, uint64_t address) {
  const uint64_t region = address >> (12 + 9 * level) << 12, index = address >> (3 + 9 * level);
  return tables + (uint64_t{level} << 36) + region + (index & 0x1ff) * 8;
}

class TranslationCostsTest : public testing::Test {
 protected:
  // Steps of a walk of four levels, down to the leaf levels.
  void walk_ept(uint64_t address, unsigned leaf) {
    for (unsigned level = 4; level >= leaf; --level) {
      const uint64_t at = entry_address(kEptTables, level, address);
      steps_.push_back({Dimension::kEpt, static_cast<uint8_t>(level), at, at});
    }
  }
  TimedWalk walk(uint64_t linear, bool nested, unsigned leaf = 1, unsigned ept_leaf = 1) {
    steps_.clear();
    for (unsigned level = 4; level >= leaf; --level) {
      const uint64_t at = entry_address(kGuestTables, level, linear);
      if (nested) walk_ept(at, ept_leaf);
      steps_.push_back({Dimension::kGuest, static_cast<uint8_t>(level), at, at});
    }
    if (nested) walk_ept(linear, ept_leaf);
    TimedWalk walk;
    walk.tag.kind = nested ? ept::MappingKind::kCombined : ept::MappingKind::kLinear;
    walk.tag.ept_root = nested ? kEptTables : 0;
    walk.tag.vpid = nested ? 1 : 0;
    walk.linear = linear;
    walk.steps = steps_;
    const unsigned smaller = nested ? std::min(leaf, ept_leaf) : leaf;
    walk.page_bits = static_cast<uint8_t>(12 + 9 * (smaller - 1));
    walk.guest_physical = linear;
    return walk;
  }
  uint64_t references(const TimedWalk& walk) {
    const uint64_t before = counts_.references;
    cycles_ = costs_.translate(walk);
    return counts_.references - before;
  }
  TranslationCostsTest() {
    costs_.count_in(counts_);
    caches_.count_in(requests_);
  }

  Caches::Counts requests_;
  Caches caches_{core_of(Generation::kSkylake).memory};
  TranslationCosts costs_{core_of(Generation::kSkylake), caches_};
  TranslationCosts::Counts counts_;
  std::vector<Step> steps_;
  uint64_t cycles_ = 0;
};

TEST_F(TranslationCostsTest, AWalkOfOneDimensionReadsFewerEntriesAsCachesFill) {
  EXPECT_EQ(references(walk(0x1'2345'6000, false)), 4u);
  EXPECT_EQ(references(walk(0x1'2345'6000, false)), 0u) << "in the TLB";
  EXPECT_EQ(cycles_, 0u);
  EXPECT_EQ(references(walk(0x1'2345'7000, false)), 1u) << "PDE cached";
  EXPECT_EQ(references(walk(0x1'2365'7000, false)), 2u) << "PDPTE cached";
  EXPECT_EQ(references(walk(0x1'6345'7000, false)), 3u) << "PML4E cached";
  EXPECT_EQ(counts_.walks, 4u);
}

TEST_F(TranslationCostsTest, EventsAreByReasonAndSize) {
  TimedWalk store = walk(0x1'2345'6000, true);
  store.write = store.dirty = true;
  costs_.translate(store);
  const uint64_t store_cycles = counts_.cycles;
  TimedWalk fetch = walk(0x2'0000'0000, false, 2);
  fetch.fetch = true;
  costs_.translate(fetch);
  TimedWalk fault = walk(0x3'0000'0000, false, 3);
  fault.page_bits = 0;
  costs_.translate(fault);
  CoreEvents expected;
  using For = TranslationFor;
  using What = TranslationEvent;
  expected.of(For::kStore, What::kWalk) = expected.of(For::kStore, What::kWalked4K) = 1;
  expected.of(For::kStore, What::kWalkCycles) = store_cycles;
  expected.of(For::kFetch, What::kWalk) = expected.of(For::kFetch, What::kWalked2M) = 1;
  expected.of(For::kLoad, What::kWalk) = 1;
  CoreEvents counted = counts_.events;
  EXPECT_GT(counted.ept_walk_cycles, 0u);
  EXPECT_LT(counted.ept_walk_cycles, store_cycles);
  counted.ept_walk_cycles = 0;
  for (const For reason : {For::kFetch, For::kLoad})
    expected.of(reason, What::kWalkCycles) = counted.of(reason, What::kWalkCycles);
  EXPECT_EQ(counted, expected);
  EXPECT_EQ(counted.of(For::kFetch, What::kWalkCycles) + counted.of(For::kLoad, What::kWalkCycles),
            counts_.cycles - store_cycles);
}

TEST_F(TranslationCostsTest, AWalkOfTwoDimensionsReads24EntriesAtFirst) {
  // Entries of EPT that lead to the same tables are cached on the way.
  const uint64_t cold = references(walk(0x1'2345'6000, true));
  const uint64_t cold_cycles = cycles_;
  EXPECT_LE(cold, 24u);
  EXPECT_GE(cold, 14u);
  const uint64_t warm = references(walk(0x1'2345'7000, true));
  EXPECT_EQ(warm, 2u) << "the PTE, whose page is in the nested TLB, and the EPT PTE";
  EXPECT_LT(cycles_, cold_cycles);
  EXPECT_EQ(steps_.size(), 24u);
}

TEST_F(TranslationCostsTest, LargerPagesCostLess) {
  const auto cold = [&](unsigned leaf, unsigned ept_leaf) {
    costs_.invalidate({.kind = Invalidation::Kind::kAll});
    return references(walk(0x1'2345'6000, true, leaf, ept_leaf));
  };
  const uint64_t small = cold(1, 1), guest = cold(2, 1), host = cold(1, 2), both = cold(2, 2),
                 huge = cold(3, 3);
  EXPECT_LT(guest, small);
  EXPECT_LT(host, small);
  EXPECT_LT(both, guest);
  EXPECT_LT(both, host);
  EXPECT_LT(huge, both);
}

TEST_F(TranslationCostsTest, EntriesInCachesAreReadFaster) {
  (void)references(walk(0x1'2345'6000, false));
  (void)references(walk(0x1'2345'7000, false));
  // The PTE is in the line that was read last: 10 cycles of the walk and 4 of the cache.
  EXPECT_EQ(cycles_, 14u);
  (void)references(walk(0x1'2346'7000, false));
  EXPECT_EQ(cycles_, 10u + 180u) << "another line";
}

TEST_F(TranslationCostsTest, TagsKeepTranslationsApart) {
  TimedWalk first = walk(0x1000, false);
  (void)references(first);
  TimedWalk other = walk(0x1000, false);
  other.tag.pcid = 5;
  EXPECT_EQ(references(other), 4u);
  EXPECT_EQ(references(walk(0x1000, false)), 0u) << "both are there";
  TimedWalk global = walk(0x2000, false);
  global.global = true;
  EXPECT_EQ(references(global), 1u);
  TimedWalk shared = walk(0x2000, false);
  shared.tag.pcid = 5;
  EXPECT_EQ(references(shared), 0u);
}

TEST_F(TranslationCostsTest, OperationsDropWhatTheyMust) {
  (void)references(walk(0x1000, false));
  (void)references(walk(0x3000, false));
  costs_.invalidate({.kind = Invalidation::Kind::kLinearAddress, .linear = 0x1000});
  EXPECT_EQ(references(walk(0x3000, false)), 0u);
  EXPECT_EQ(references(walk(0x1000, false)), 4u) << "INVLPG drops the paging-structure caches";
  costs_.invalidate({.kind = Invalidation::Kind::kPcid});
  EXPECT_EQ(references(walk(0x3000, false)), 4u);
  (void)references(walk(0x1000, true));
  costs_.invalidate({.kind = Invalidation::Kind::kGuestPhysicalEptp, .eptp = kEptTables | 0x1e});
  EXPECT_GE(references(walk(0x1000, true)), 14u);
}

TEST_F(TranslationCostsTest, WritesAndFaultsWalk) {
  (void)references(walk(0x1000, false));
  TimedWalk write = walk(0x1000, false);
  write.write = write.dirty = true;
  EXPECT_EQ(references(write), 1u) << "the dirty flag is set";
  EXPECT_EQ(references(write), 0u);
  TimedWalk fault = walk(0x1000, false);
  fault.page_bits = 0;
  EXPECT_EQ(references(fault), 1u);
}

// Each walk reads one entry less where the region's entry is cached.
TEST_F(TranslationCostsTest, EachPagingStructureCacheIsOfItsOwn) {
  // How many references the second time around takes for regions of 2 MBytes, or of 1 GByte, each
  // time to another page.
  const auto again = [&](uint64_t regions, unsigned bits) {
    costs_.invalidate({.kind = Invalidation::Kind::kAll});
    for (uint64_t i = 0; i < regions; ++i) (void)references(walk(i << bits, false));
    const uint64_t before = counts_.references;
    const uint64_t next = uint64_t{1} << (bits - 9);
    for (uint64_t i = 0; i < regions; ++i) (void)references(walk(i << bits | next, false));
    return counts_.references - before;
  };
  EXPECT_EQ(again(32, 21), 32u) << "PDEs";
  EXPECT_EQ(again(33, 21), 33u + 5) << "five were in one set of four ways";
  EXPECT_EQ(again(4, 30), 8u) << "PDPTEs";
  EXPECT_EQ(again(5, 30), 15u);
  EXPECT_EQ(again(2, 39), 6u) << "PML4Es";
  EXPECT_EQ(again(3, 39), 12u);
}

// A combined entry of the PDE cache has the physical address of the page table: EPT is not walked
// for it, though the TLB of guest-physical pages has forgotten where it is.
TEST_F(TranslationCostsTest, CombinedEntriesLeadToTablesWithoutEpt) {
  (void)references(walk(0x1'2345'6000, true));
  for (uint64_t i = 0; i < 80; ++i) (void)references(walk(0x2'0000'0000 + (i << 12), true));
  EXPECT_EQ(references(walk(0x1'2345'7000, true)), 2u) << "the PTE, and the EPT PTE";
}

// Beyond the second-level TLB something is forgotten.
TEST_F(TranslationCostsTest, TheTlbIsAsLargeAsTheProcessors) {
  const auto again = [&](uint64_t pages) {
    costs_.invalidate({.kind = Invalidation::Kind::kAll});
    for (uint64_t i = 0; i < pages; ++i) (void)references(walk(i << 12, false));
    const uint64_t before = counts_.walks;
    for (uint64_t i = 0; i < pages; ++i) (void)references(walk(i << 12, false));
    return counts_.walks - before;
  };
  EXPECT_EQ(again(1536), 0u);
  EXPECT_GT(again(1537), 0u);
}

}  // namespace
}  // namespace nestor::emu::timing::test
