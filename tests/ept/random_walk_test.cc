// SPDX-License-Identifier: MIT

// The walker against the naive reader, on random paging structures.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "ept/walk.h"
#include "tests/ept/naive_reader.h"
#include "tests/ept/random_tables.h"

namespace nestor::ept::testing {
namespace {

constexpr unsigned kWorlds = 60;
constexpr unsigned kWalksInEach = 2000;

constexpr std::array kModes = {PagingMode::kNone, PagingMode::k32Bit, PagingMode::kPae,
                               PagingMode::k4Level, PagingMode::k5Level};

class RandomWalk : public ::testing::TestWithParam<PagingMode> {};

std::string mode_name(const ::testing::TestParamInfo<PagingMode>& info) {
  constexpr std::array kNames = {"None", "Bits32", "Pae", "Level4", "Level5"};
  return kNames[static_cast<std::size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Modes, RandomWalk, ::testing::ValuesIn(kModes), mode_name);

unsigned log2_of(std::uint64_t size) {
  unsigned result = 0;
  while (size > 1) {
    size /= 2;
    ++result;
  }
  return result;
}

/// Walks in two equal memories; every difference is a failure.
struct Pair {
  explicit Pair(const RandomWorld& from) : world(from), naive(from.memory) {}

  RandomWorld world;
  NaiveMemory naive;

  void expect_same_updates() {
    EXPECT_EQ(world.memory.updates, naive.updates);
    world.memory.updates.clear();
    naive.updates.clear();
  }
};

/// How often each outcome was met: a comparison that never meets one would prove nothing.
struct Tally {
  std::array<unsigned, 6> by_outcome{};
  unsigned convertible = 0;
  unsigned by_sub_page = 0;
  unsigned unverified = 0;
  unsigned updates = 0;
};

void expect_rights(const LinearRights& rights, const NaiveAnswer& answer) {
  EXPECT_EQ(rights.user, answer.user);
  EXPECT_EQ(rights.writable, answer.writable);
  EXPECT_EQ(rights.executable, answer.executable);
  EXPECT_EQ(rights.protection_key, answer.protection_key);
}

void expect_ept_rights(const EptRights& rights, const NaiveAnswer& answer) {
  EXPECT_EQ(rights.read, answer.ept_read);
  EXPECT_EQ(rights.write, answer.ept_write);
  EXPECT_EQ(rights.execute, answer.ept_execute);
  EXPECT_EQ(rights.execute_user, answer.ept_execute_user);
}

TEST_P(RandomWalk, LinearAgreesWithNaiveReader) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) {
    Pair pair{RandomWorld(seed, GetParam())};
    Random random(~seed);
    for (unsigned i = 0; i != kWalksInEach; ++i) {
      const LinearAddress linear{pair.world.random_linear(random)};
      const Access access = RandomWorld::random_access(random);
      RecordSteps<8> steps;
      const auto walk = walk_linear(pair.world.memory, pair.world.state, linear, access, steps);
      const NaiveAnswer answer =
          naive_linear(pair.naive, pair.world.state, nullptr, linear.value, access);
      SCOPED_TRACE(::testing::Message()
                   << "seed " << seed << " walk " << i << " linear 0x" << std::hex << linear.value);
      ++tally.by_outcome[answer.what];
      ASSERT_NE(walk.outcome, LinearOutcome::kUnreachable);
      ASSERT_EQ(walk.outcome == LinearOutcome::kPageFault, answer.what == NaiveAnswer::kPageFault);
      EXPECT_EQ(walk.error_code, answer.error_code);
      EXPECT_EQ(walk.counts.references, answer.guest_reads);
      EXPECT_EQ(walk.counts.updates, pair.naive.updates.size());
      EXPECT_EQ(steps.total(), answer.guest_reads);
      if (walk.translated()) {
        EXPECT_EQ(walk.address.value, answer.address);
        EXPECT_EQ(walk.page_bits, log2_of(answer.linear_page_size));
        EXPECT_EQ(walk.dirty, answer.linear_dirty);
        EXPECT_EQ(walk.global, answer.global);
        EXPECT_EQ(walk.pat_index, answer.pat_index);
        expect_rights(walk.rights, answer);
      }
      tally.updates += walk.counts.updates;
      pair.expect_same_updates();
      if (HasFailure()) return;
    }
    EXPECT_TRUE(pair.world.memory == pair.naive);
  }
  EXPECT_GT(tally.by_outcome[NaiveAnswer::kAddress], kWorlds * kWalksInEach / 20);
  if (GetParam() != PagingMode::kNone) {
    EXPECT_GT(tally.by_outcome[NaiveAnswer::kPageFault], kWorlds * kWalksInEach / 20);
    EXPECT_GT(tally.updates, kWalksInEach);
  }
}

TEST_P(RandomWalk, NestedAgreesWithNaiveReader) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) {
    Pair pair{RandomWorld(seed ^ 0xabcd'0000, GetParam())};
    Random random(~seed);
    for (unsigned i = 0; i != kWalksInEach; ++i) {
      const LinearAddress linear{pair.world.random_linear(random)};
      const Access access = RandomWorld::random_access(random);
      RecordSteps<kLongestNestedWalk + kLongestSubPageWalk> steps;
      const auto walk =
          walk_nested(pair.world.memory, pair.world.state, pair.world.ept, linear, access, steps);
      const NaiveAnswer answer =
          naive_linear(pair.naive, pair.world.state, &pair.world.ept, linear.value, access);
      SCOPED_TRACE(::testing::Message()
                   << "seed " << seed << " walk " << i << " linear 0x" << std::hex << linear.value);
      ++tally.by_outcome[answer.what];
      ASSERT_NE(walk.outcome, NestedOutcome::kUnreachable);
      ASSERT_EQ(static_cast<int>(walk.outcome), static_cast<int>(answer.what));
      EXPECT_EQ(walk.error_code, answer.error_code);
      EXPECT_EQ(walk.exit_qualification, answer.qualification);
      EXPECT_EQ(walk.guest_counts.references, answer.guest_reads);
      EXPECT_EQ(walk.ept_counts.references, answer.ept_reads);
      EXPECT_EQ(walk.updates(), pair.naive.updates.size());
      EXPECT_EQ(steps.total(), walk.references());
      if (walk.outcome != NestedOutcome::kPageFault) {
        EXPECT_EQ(walk.guest_physical.value, answer.guest_physical);
      }
      if (walk.translated()) {
        EXPECT_EQ(walk.address.value, answer.address);
        EXPECT_EQ(walk.page_bits,
                  std::min(log2_of(answer.linear_page_size), log2_of(answer.ept_page_size)));
        EXPECT_EQ(walk.dirty, answer.linear_dirty && answer.ept_dirty);
        EXPECT_EQ(walk.pat_index, answer.pat_index);
        EXPECT_EQ(static_cast<unsigned>(walk.ept_memory_type), answer.ept_memory_type);
        EXPECT_EQ(walk.ignore_pat, answer.ept_ignore_pat);
        expect_rights(walk.rights, answer);
        expect_ept_rights(walk.ept_rights, answer);
        EXPECT_EQ(walk.by_sub_page, answer.by_sub_page);
        tally.by_sub_page += answer.by_sub_page;
      }
      if (walk.outcome == NestedOutcome::kEptViolation) {
        EXPECT_EQ(walk.convertible, answer.convertible);
        tally.convertible += answer.convertible;
        tally.unverified += (answer.qualification & 0x8000) != 0;
      }
      tally.updates += walk.updates();
      pair.expect_same_updates();
      if (HasFailure()) return;
    }
    EXPECT_TRUE(pair.world.memory == pair.naive);
  }
  constexpr unsigned kWalks = kWorlds * kWalksInEach;
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
