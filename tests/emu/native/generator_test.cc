// SPDX-License-Identifier: GPL-2.0-or-later

// The generated tables, without KVM: the same for the same seed, and with every case in them.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "emu/native/layout.h"
#include "emu/native/table_generator.h"
#include "ept/walk.h"

namespace nestor::emu::native {
namespace {

using ept::PagingMode;

Features all_features() {
  Features features;
  features.pse36 = features.nx = features.page1gb = features.smep = features.smap = features.pku =
      features.la57 = true;
  features.maxphyaddr = 40;
  return features;
}

class Generator : public testing::TestWithParam<PagingMode> {
 protected:
  ept::PagingState make(std::uint64_t seed, std::vector<std::byte>& bytes) {
    bytes.assign(Layout::kMemorySize, std::byte{0});
    GuestMemory memory(bytes);
    write_scaffold(memory, GetParam());
    Random random(seed);
    ept::PagingState state = random_state(random, GetParam(), all_features());
    fill_tables(random, state, false, memory);
    load_pdptes(state, memory);
    return state;
  }
};

TEST_P(Generator, SameSeedSameTables) {
  std::vector<std::byte> once, again, other;
  (void)make(7, once);
  (void)make(7, again);
  (void)make(8, other);
  EXPECT_TRUE(once == again);
  EXPECT_FALSE(once == other);
}

TEST_P(Generator, MapsTheScaffold) {
  std::vector<std::byte> bytes;
  const ept::PagingState state = make(3, bytes);
  GuestMemory memory(bytes);
  const std::uint64_t base = shape_of(GetParam()).scaffold_base;
  for (std::uint64_t page = 0x1000; page != Layout::kScaffoldEnd; page += 0x1000) {
    ASSERT_TRUE(is_scaffold(GetParam(), base + page));
    const auto walk =
        ept::walk_linear<ept::UpdateFlags>(memory, state, {base + page}, {ept::Access::kWrite});
    ASSERT_TRUE(walk.translated() || state.smap);
    EXPECT_EQ(walk.address.value, page);
    EXPECT_EQ(walk.counts.updates, 0U);
  }
  EXPECT_FALSE(is_scaffold(GetParam(), 0x1000));
}

TEST_P(Generator, HasEveryOutcome) {
  std::map<std::uint32_t, unsigned> codes;
  std::map<unsigned, unsigned> sizes;
  unsigned unreachable = 0;
  for (std::uint64_t seed = 0; seed != 40; ++seed) {
    std::vector<std::byte> bytes;
    const ept::PagingState state = make(seed, bytes);
    GuestMemory memory(bytes);
    Random random(seed);
    for (unsigned i = 0; i != 500; ++i) {
      const ept::Access access{
          random.one_of({ept::Access::kRead, ept::Access::kWrite, ept::Access::kFetch}),
          random.chance(50)};
      const auto walk =
          ept::walk_linear<ept::ProbeOnly>(memory, state, {random_linear(random, state)}, access);
      if (walk.translated()) {
        ++sizes[walk.page_bits];
      } else if (walk.outcome == ept::LinearOutcome::kPageFault) {
        ++codes[walk.error_code];
      } else {
        ++unreachable;
      }
    }
  }
  const bool long_mode = GetParam() == PagingMode::k4Level || GetParam() == PagingMode::k5Level;
  EXPECT_EQ(sizes.size(), long_mode ? 3U : 2U);
  EXPECT_GT(unreachable, 0U);
  // Not present, denied, reserved bits, each as read, write, fetch, by supervisor and user.
  for (const std::uint32_t cause : {0U, 1U, 9U}) {
    for (const std::uint32_t access : {0U, 2U, 0x10U, 4U, 6U, 0x14U}) {
      EXPECT_GT(codes[cause | access], 0U) << std::hex << (cause | access);
    }
  }
  EXPECT_EQ(codes[0x25] != 0, long_mode) << "protection keys";
}

INSTANTIATE_TEST_SUITE_P(Modes, Generator,
                         testing::Values(PagingMode::k32Bit, PagingMode::kPae, PagingMode::k4Level,
                                         PagingMode::k5Level));

TEST(Canonical, IsJudgedByTheModesWidth) {
  EXPECT_TRUE(is_canonical(PagingMode::k4Level, 0x0000'7fff'ffff'ffff));
  EXPECT_FALSE(is_canonical(PagingMode::k4Level, 0x0000'8000'0000'0000));
  EXPECT_TRUE(is_canonical(PagingMode::k4Level, 0xffff'8000'0000'0000));
  EXPECT_FALSE(is_canonical(PagingMode::k4Level, 0x7fff'8000'0000'0000));
  EXPECT_TRUE(is_canonical(PagingMode::k5Level, 0x0000'8000'0000'0000));
  EXPECT_FALSE(is_canonical(PagingMode::k5Level, 0x0100'0000'0000'0000));
  EXPECT_TRUE(is_canonical(PagingMode::kPae, 0xffff'ffff));
}

}  // namespace
}  // namespace nestor::emu::native
