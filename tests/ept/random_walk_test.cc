// SPDX-License-Identifier: MIT

// The walker against the naive reader, on random paging structures.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>

#include "ept/walk.h"
#include "tests/ept/agreement.h"
#include "tests/ept/random_tables.h"

namespace nestor::ept::testing {
namespace {

constexpr unsigned kWorlds = 60;
constexpr unsigned kWalksInEach = 2000;

class RandomWalk : public ::testing::TestWithParam<PagingMode> {};

std::string mode_name(const ::testing::TestParamInfo<PagingMode>& info) {
  constexpr std::array kNames = {"None", "Bits32", "Pae", "Level4", "Level5"};
  return kNames[static_cast<std::size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Modes, RandomWalk, ::testing::ValuesIn(kAllModes), mode_name);

/// How often each outcome was met: a comparison that never meets one would prove nothing.
struct Tally {
  std::array<unsigned, 6> by_outcome{};
  unsigned updates = 0;
  unsigned convertible = 0;
  unsigned by_sub_page = 0;
  unsigned unverified = 0;

  void add(const Asked& asked) {
    ++by_outcome[asked.answer.what];
    updates += asked.updates;
    if (asked.answer.what == NaiveAnswer::kAddress) by_sub_page += asked.answer.by_sub_page;
    if (asked.answer.what != NaiveAnswer::kEptViolation) return;
    convertible += asked.answer.convertible;
    unverified += (asked.answer.qualification & 0x8000) != 0;
  }
};

/// Walks in two equal memories; the first difference is the failure.
Tally walk_in_worlds(PagingMode mode, bool nested) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) {
    RandomWorld world(nested ? seed ^ 0xabcd'0000 : seed, mode);
    NaiveMemory read = world.memory;
    Random random(~seed);
    for (unsigned i = 0; i != kWalksInEach; ++i) {
      const Question question{world.state, world.ept, nested, world.random_linear(random),
                              RandomWorld::random_access(random)};
      Asked asked;
      const std::string difference =
          disagreement(question, world.memory, read, naive_linear, &asked);
      EXPECT_EQ(difference, "") << "seed " << seed << " walk " << i;
      if (!difference.empty()) return tally;
      tally.add(asked);
    }
    EXPECT_TRUE(world.memory == read);
  }
  return tally;
}

TEST_P(RandomWalk, LinearAgreesWithNaiveReader) {
  const Tally tally = walk_in_worlds(GetParam(), false);
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kAddress], kWorlds * kWalksInEach / 20);
  if (GetParam() != PagingMode::kNone) {
    EXPECT_GT(tally.by_outcome[NaiveAnswer::kPageFault], kWorlds * kWalksInEach / 20);
    EXPECT_GT(tally.updates, kWalksInEach);
  }
}

TEST_P(RandomWalk, NestedAgreesWithNaiveReader) {
  constexpr unsigned kWalks = kWorlds * kWalksInEach;
  const Tally tally = walk_in_worlds(GetParam(), true);
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kAddress], kWalks / 50);
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kEptViolation], kWalks / 50);
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kEptMisconfiguration], kWalks / 50);
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kSubPageEvent], kWalks / 10000);
  EXPECT_GT(tally.by_sub_page, kWalks / 5000);
  EXPECT_GT(tally.convertible, kWalks / 50);
  if (GetParam() != PagingMode::kNone) {
    EXPECT_GT(tally.by_outcome[NaiveAnswer::kPageFault], kWalks / 50);
    EXPECT_GT(tally.unverified, kWalks / 5000);
  }
}

/// The same walks, but a probe leaves nothing behind.
TEST_P(RandomWalk, ProbeWritesNothing) {
  RandomWorld world(7, GetParam());
  const NaiveMemory before = world.memory;
  Random random(70);
  unsigned translated = 0;
  for (unsigned i = 0; i != kWalksInEach; ++i) {
    const LinearAddress linear{world.random_linear(random)};
    const Access access = RandomWorld::random_access(random);
    if (walk_linear<ProbeOnly>(world.memory, world.state, linear, access).translated()) {
      ++translated;
    }
    const auto walk = walk_nested<ProbeOnly>(world.memory, world.state, world.ept, linear, access);
    ASSERT_EQ(walk.updates(), 0U);
  }
  EXPECT_GT(translated, 0U);
  EXPECT_TRUE(world.memory.updates.empty());
  EXPECT_TRUE(world.memory == before);
}

}  // namespace
}  // namespace nestor::ept::testing
