// SPDX-License-Identifier: GPL-2.0-or-later

// The generated EPT tables, without KVM: the same for the same seed, and with every case in them.

#include "emu/native/ept_generator.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "emu/native/nested_layout.h"
#include "ept/bits.h"
#include "ept/walk.h"
#include "vmx/capabilities.h"

namespace nestor::emu::native {
namespace {

using ept::NestedOutcome;
namespace cap = vmx::ept_vpid_cap;

constexpr std::uint8_t kWidth = 46;
constexpr std::uint64_t kAllCapabilities = cap::kExecuteOnly | cap::kWalkLength4 |
                                           cap::kWalkLength5 | cap::kPages2M | cap::kPages1G |
                                           cap::kAccessedDirty;

EptQuestion make(std::uint64_t seed, std::uint8_t width, std::vector<std::byte>& bytes) {
  bytes.assign(NestedLayout::kMemorySize, std::byte{0});
  GuestMemory memory(bytes);
  write_nested_scaffold(memory, width);
  Random random(seed);
  EptQuestion about;
  about.ept = random_ept_state(random, kAllCapabilities, width);
  fill_ept_tables(random, about.ept, memory);
  return about;
}

TEST(EptGenerator, SameSeedSameTables) {
  std::vector<std::byte> once, again, other;
  (void)make(7, kWidth, once);
  (void)make(7, kWidth, again);
  (void)make(8, kWidth, other);
  EXPECT_TRUE(once == again);
  EXPECT_FALSE(once == other);
}

TEST(EptGenerator, MapsL2sCodeAndLeavesItsFlags) {
  for (const std::uint8_t width : {std::uint8_t{36}, std::uint8_t{39}, kWidth, std::uint8_t{52}}) {
    for (std::uint64_t seed = 0; seed != 8; ++seed) {
      std::vector<std::byte> bytes;
      const EptQuestion about = make(seed, width, bytes);
      GuestMemory memory(bytes);
      const auto walk = ept::walk_nested(memory, guest_paging(width, true), about.ept,
                                         {nested_code({})}, {ept::Access::kFetch, true});
      ASSERT_TRUE(walk.translated()) << unsigned{width};
      EXPECT_EQ(walk.address.value, nested_code({}));
      EXPECT_EQ(walk.updates(), 0U);
    }
  }
}

TEST(EptGenerator, AsksForThePathThatItWrites) {
  std::vector<std::byte> bytes;
  const EptQuestion about = make(1, kWidth, bytes);
  GuestMemory memory(bytes);
  for (const unsigned level : {1U, 2U, 3U}) {
    GuestPath path;
    path.level = level;
    path.entry = 0xc000'0007 | (level != 1 ? ept::bit(7) : 0);
    const std::uint64_t linear = path_linear(0x12'3456'7890);
    write_path(memory, linear, path);
    const auto walk = ept::walk_nested<ept::ProbeOnly>(memory, guest_paging(kWidth, true),
                                                       about.ept, {linear}, {ept::Access::kRead});
    const std::uint64_t offset = linear & ept::low_bits(12 + 9 * (level - 1));
    EXPECT_TRUE(walk.linear_translated);
    EXPECT_EQ(walk.guest_physical.value, 0xc000'0000 | offset);
  }
}

TEST(EptGenerator, HasEveryOutcome) {
  std::map<NestedOutcome, unsigned> outcomes;
  std::map<std::uint64_t, unsigned> qualifications;
  std::map<unsigned, unsigned> levels;
  std::map<unsigned, unsigned> sizes;
  for (std::uint64_t seed = 0; seed != 60; ++seed) {
    std::vector<std::byte> bytes;
    EptQuestion about = make(seed, kWidth, bytes);
    about.user = seed % 2 != 0;
    ++levels[about.ept.eptp.walk_length()];
    GuestMemory memory(bytes);
    Random random(seed);
    for (unsigned i = 0; i != 300; ++i) {
      const EptQuestion question = random_ept_question(random, about, true);
      write_path(memory, question.linear, question.path);
      const auto walk =
          ept::walk_nested<ept::ProbeOnly>(memory, guest_paging(kWidth, question.wp), question.ept,
                                           {question.linear}, *question.access);
      ++outcomes[walk.outcome];
      if (walk.translated()) ++sizes[walk.page_bits];
      if (walk.outcome == NestedOutcome::kEptViolation) ++qualifications[walk.exit_qualification];
    }
  }
  EXPECT_EQ(levels.size(), 2U);
  for (const NestedOutcome outcome :
       {NestedOutcome::kTranslated, NestedOutcome::kPageFault, NestedOutcome::kEptViolation,
        NestedOutcome::kEptMisconfiguration}) {
    EXPECT_GT(outcomes[outcome], 0U) << static_cast<unsigned>(outcome);
  }
  EXPECT_EQ(sizes.size(), 3U);
  // A read, write and fetch that finds nothing, or a page without the right; a paging structure.
  for (const std::uint64_t qualification :
       {0x181U, 0x182U, 0x184U, 0x18aU, 0x1aaU, 0x18cU, 0x19cU, 0x81U, 0x83U, 0x8bU}) {
    EXPECT_GT(qualifications[qualification], 0U) << std::hex << qualification;
  }
}

}  // namespace
}  // namespace nestor::emu::native
