// SPDX-License-Identifier: MIT

// Walks through caches against walks from the root: as long as no entry changes, both say the same.

#include "ept/caching_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "ept/walk.h"
#include "tests/ept/agreement.h"
#include "tests/ept/random_tables.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

using Cache = TranslationCache<4096>;
template <class M>
using Caching = CachingMemory<M, Cache>;
using Nested = NestedWalk<PhysicalAddress>;
using Linear = LinearWalk<PhysicalAddress>;

constexpr MappingTag kCombined{MappingKind::kCombined, true, 3, 0, 0x5000};
constexpr MappingTag kLinearTag{MappingKind::kLinear, true, 3, 0, 0};

void expect_same(const Nested& cached, const Nested& fresh) {
  EXPECT_EQ(cached.outcome, fresh.outcome);
  EXPECT_EQ(cached.page_bits, fresh.page_bits);
  EXPECT_EQ(cached.dirty, fresh.dirty);
  EXPECT_EQ(cached.global, fresh.global);
  EXPECT_EQ(cached.pat_index, fresh.pat_index);
  EXPECT_EQ(cached.ept_memory_type, fresh.ept_memory_type);
  EXPECT_EQ(cached.ignore_pat, fresh.ignore_pat);
  EXPECT_EQ(cached.linear_translated, fresh.linear_translated);
  EXPECT_EQ(cached.by_sub_page, fresh.by_sub_page);
  EXPECT_EQ(cached.convertible, fresh.convertible);
  EXPECT_EQ(cached.rights, fresh.rights);
  EXPECT_EQ(cached.ept_rights, fresh.ept_rights);
  EXPECT_EQ(cached.error_code, fresh.error_code);
  EXPECT_EQ(cached.exit_qualification, fresh.exit_qualification);
  EXPECT_EQ(cached.guest_physical, fresh.guest_physical);
  EXPECT_EQ(cached.address, fresh.address);
}

void expect_same(const Linear& cached, const Linear& fresh) {
  EXPECT_EQ(cached.outcome, fresh.outcome);
  EXPECT_EQ(cached.page_bits, fresh.page_bits);
  EXPECT_EQ(cached.dirty, fresh.dirty);
  EXPECT_EQ(cached.global, fresh.global);
  EXPECT_EQ(cached.pat_index, fresh.pat_index);
  EXPECT_EQ(cached.rights, fresh.rights);
  EXPECT_EQ(cached.error_code, fresh.error_code);
  EXPECT_EQ(cached.address, fresh.address);
  EXPECT_EQ(cached.entry_address, fresh.entry_address);
}

class CachingWalk : public ::testing::TestWithParam<PagingMode> {};

std::string mode_name(const ::testing::TestParamInfo<PagingMode>& info) {
  constexpr std::array kNames = {"None", "Bits32", "Pae", "Level4", "Level5"};
  return kNames[static_cast<std::size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Modes, CachingWalk, ::testing::ValuesIn(kAllModes), mode_name);

struct Tally {
  unsigned translated = 0, faults = 0, used = 0;
};

/// Walks in two equal worlds, in one of them through a cache.
Tally walk_in_worlds(PagingMode mode, bool nested) {
  constexpr unsigned kWorlds = 12, kWalks = 1200, kRepeats = 4;
  Tally tally;
  for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) {
    RandomWorld world(nested ? seed ^ 0xcace'0000 : seed, mode);
    NaiveMemory plain = world.memory;
    const auto cache = std::make_unique<Cache>();
    Random random(seed << 20);
    LinearAddress linear{};
    std::size_t updates = 0;
    for (unsigned i = 0; i != kWalks && !::testing::Test::HasFailure(); ++i) {
      if (i % kRepeats == 0) {
        linear = LinearAddress{world.random_linear(random)};
        // In these worlds a flag may be a part of another table.
        if (plain.updates.size() != updates) cache->invalidate({});
        updates = plain.updates.size();
      }
      const Access access = RandomWorld::random_access(random);
      const bool verifies =
          world.ept.guest_paging_verification && world.ept.paging_write_control && nested;
      using Memory = Caching<NaiveMemory>;
      Memory memory(world.memory, *cache, nested ? kCombined : kLinearTag,
                    verifies ? Memory::Tables::kIgnore : Memory::Tables::kUse);
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " walk " << i);
      unsigned references = 0, fewest = 0;
      bool translated = false;
      if (nested) {
        const Nested fresh = walk_nested(plain, world.state, world.ept, linear, access);
        const Nested cached = walk_nested(memory, world.state, world.ept, linear, access);
        expect_same(cached, fresh);
        references = fresh.references();
        fewest = cached.references();
        translated = fresh.translated();
      } else {
        const Linear fresh = walk_linear(plain, world.state, linear, access);
        const Linear cached = walk_linear(memory, world.state, linear, access);
        expect_same(cached, fresh);
        references = fresh.counts.references;
        fewest = cached.counts.references;
        translated = fresh.translated();
      }
      EXPECT_EQ(memory.used(), fewest < references);
      if (memory.resumed()) {
        EXPECT_TRUE(memory.used());
      }
      ++(translated ? tally.translated : tally.faults);
      tally.used += memory.used();
    }
    EXPECT_TRUE(world.memory == plain) << "the same flags are set, seed " << seed;
  }
  return tally;
}

TEST_P(CachingWalk, LinearSaysTheSame) {
  const Tally tally = walk_in_worlds(GetParam(), false);
  EXPECT_GT(tally.translated, 500u);
  if (GetParam() != PagingMode::kNone) {
    EXPECT_GT(tally.faults, 500u);
    EXPECT_GT(tally.used, 500u);
  }
}

TEST_P(CachingWalk, NestedSaysTheSame) {
  const Tally tally = walk_in_worlds(GetParam(), true);
  EXPECT_GT(tally.translated, 100u);
  EXPECT_GT(tally.faults, 500u);
  EXPECT_GT(tally.used, 500u);
}

}  // namespace
}  // namespace nestor::ept::testing
