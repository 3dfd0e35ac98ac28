// SPDX-License-Identifier: MIT

// The shrinking of disagreements, with readers that are wrong on purpose.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <optional>

#include "tests/ept/agreement.h"
#include "tests/ept/random_tables.h"

namespace nestor::ept::testing {
namespace {

/// Does not know sub-page write permissions.
NaiveAnswer without_sub_pages(NaiveMemory& memory, const PagingState& state, const EptState* ept,
                              std::uint64_t linear, Access access) {
  access.size = 0;
  return naive_linear(memory, state, ept, linear, access);
}

/// Believes that every linear address is executable.
NaiveAnswer without_execute_disable(NaiveMemory& memory, const PagingState& state,
                                    const EptState* ept, std::uint64_t linear, Access access) {
  NaiveAnswer answer = naive_linear(memory, state, ept, linear, access);
  answer.executable = true;
  return answer;
}

/// Takes one bit of the address of 5-level tables for another.
NaiveAnswer with_wrong_fifth_level(NaiveMemory& memory, const PagingState& state,
                                   const EptState* ept, std::uint64_t linear, Access access) {
  if (state.mode == PagingMode::k5Level) linear ^= std::uint64_t{1} << 48;
  return naive_linear(memory, state, ept, linear, access);
}

/// The first question of random worlds on which the walker and `reader` disagree.
std::optional<Case> first_disagreement(Reader reader, PagingMode mode, bool nested) {
  for (std::uint64_t seed = 1; seed != 20; ++seed) {
    const RandomWorld world(seed, mode);
    Random random(seed);
    for (unsigned i = 0; i != 500; ++i) {
      Case found{{world.state, world.ept, nested, world.random_linear(random),
                  RandomWorld::random_access(random)},
                 world.memory};
      if (!found.disagreement(reader).empty()) return found;
    }
  }
  return std::nullopt;
}

unsigned bits_in(const Case& shown) {
  int count = 0;
  for (const Update& entry : entries_of(shown)) count += std::popcount(entry.value);
  return static_cast<unsigned>(count);
}

TEST(Shrink, ARightReaderIsNeverRefuted) {
  EXPECT_FALSE(first_disagreement(naive_linear, PagingMode::kPae, true));
}

/// What is left: paging gone, four EPT entries with the address bits and rights that lead to the
/// page, and tables of sub-page permissions that are all zero.
TEST(Shrink, SubPagesNeedOneChainOfEptEntries) {
  auto found = first_disagreement(without_sub_pages, PagingMode::k5Level, true);
  ASSERT_TRUE(found);
  EXPECT_GT(entries_of(*found).size(), 10'000U);
  shrink(*found, without_sub_pages);
  EXPECT_FALSE(found->disagreement(without_sub_pages).empty());
  EXPECT_TRUE(found->disagreement(naive_linear).empty());
  const Question& q = found->question;
  EXPECT_TRUE(q.nested && q.ept.sub_page_write);
  EXPECT_EQ(q.state.mode, PagingMode::kNone);
  EXPECT_EQ(q.ept.eptp.walk_length(), 4U);
  EXPECT_EQ(q.access.kind, Access::kWrite);
  EXPECT_FALSE(q.ept.mode_based_execute || q.ept.violation_exceptions || q.state.smap);
  EXPECT_LE(entries_of(*found).size(), 4U) << describe(*found);
  EXPECT_LE(bits_in(*found), 40U) << describe(*found);
}

TEST(Shrink, ExecuteDisableNeedsNoEpt) {
  auto found = first_disagreement(without_execute_disable, PagingMode::k4Level, true);
  ASSERT_TRUE(found);
  shrink(*found, without_execute_disable);
  EXPECT_FALSE(found->question.nested);
  EXPECT_TRUE(found->question.state.nxe);
  EXPECT_LE(entries_of(*found).size(), 4U) << describe(*found);
}

TEST(Shrink, KeepsTheLevelsThatTheDisagreementNeeds) {
  auto found = first_disagreement(with_wrong_fifth_level, PagingMode::k5Level, false);
  ASSERT_TRUE(found);
  shrink(*found, with_wrong_fifth_level);
  EXPECT_EQ(found->question.state.mode, PagingMode::k5Level);
  EXPECT_LE(entries_of(*found).size(), 2U) << describe(*found);
  EXPECT_NE(describe(*found).find("5-level paging, CR3"), std::string::npos);
}

}  // namespace
}  // namespace nestor::ept::testing
