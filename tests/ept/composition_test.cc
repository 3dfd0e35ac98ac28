// SPDX-License-Identifier: MIT

// Walks over walks: how many references they make, and in which order.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

struct Guest {
  PagingMode mode;
  unsigned levels;
  unsigned largest_page_level;
};

constexpr Guest kGuests[] = {{PagingMode::k32Bit, 2, 2},
                             {PagingMode::kPae, 2, 2},
                             {PagingMode::k4Level, 4, 3},
                             {PagingMode::k5Level, 5, 3}};

TEST(Composition, ReferencesFollowTheFormulaForEverySizeOfPage) {
  unsigned combinations = 0;
  for (const Guest& guest : kGuests) {
    for (unsigned guest_page = 1; guest_page <= guest.largest_page_level; ++guest_page) {
      for (unsigned ept_levels = 4; ept_levels <= 5; ++ept_levels) {
        for (unsigned ept_page = 1; ept_page <= 3; ++ept_page) {
          for (unsigned table_page = 1; table_page <= 3; ++table_page) {
            NestedFixture f(guest.mode, guest_page, ept_page, ept_levels, table_page);
            RecordSteps<kLongestNestedWalk> steps;
            const auto walk = walk_nested(f.tables.memory, f.paging, f.ept,
                                          LinearAddress{NestedFixture::kLinear}, {}, steps);
            SCOPED_TRACE(::testing::Message()
                         << "guest levels " << guest.levels << " guest page " << guest_page
                         << " ept levels " << ept_levels << " ept page " << ept_page
                         << " ept page of tables " << table_page);
            ASSERT_TRUE(walk.translated());
            const unsigned used = guest.levels - guest_page + 1;
            const unsigned per_table = ept_levels - table_page + 1;
            const unsigned last = ept_levels - ept_page + 1;
            EXPECT_EQ(walk.references(), used * (per_table + 1) + last);
            if (table_page == ept_page) {
              EXPECT_EQ(walk.references(), (used + 1) * (per_table + 1) - 1);
            }
            EXPECT_EQ(steps.total(), walk.references());
            ++combinations;
          }
        }
      }
    }
  }
  EXPECT_EQ(combinations, (2 + 2 + 3 + 3) * 2 * 3 * 3);
}

TEST(Composition, FourByFourLevelsMake24ReferencesAndFiveByFive35) {
  NestedFixture four(PagingMode::k4Level, 1, 1, 4);
  NestedFixture five(PagingMode::k5Level, 1, 1, 5);
  const LinearAddress linear{NestedFixture::kLinear};
  EXPECT_EQ(walk_nested(four.tables.memory, four.paging, four.ept, linear, {}).references(), 24U);
  EXPECT_EQ(walk_nested(five.tables.memory, five.paging, five.ept, linear, {}).references(),
            kLongestNestedWalk);
}

TEST(Composition, NativeWalkReferencesEachLevelOnce) {
  for (const Guest& guest : kGuests) {
    for (unsigned page = 1; page <= guest.largest_page_level; ++page) {
      NestedFixture f(guest.mode, page);
      const auto walk =
          walk_linear(f.tables.memory, f.paging, LinearAddress{NestedFixture::kLinear}, {});
      ASSERT_TRUE(walk.translated());
      EXPECT_EQ(walk.counts.references, guest.levels - page + 1);
    }
  }
}

TEST(Composition, StepsComeInTheOrderOfTheReferences) {
  NestedFixture f;
  RecordSteps<kLongestNestedWalk> recorder;
  ASSERT_TRUE(walk_nested(f.tables.memory, f.paging, f.ept, LinearAddress{NestedFixture::kLinear},
                          {}, recorder)
                  .translated());
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 24U);
  for (unsigned i = 0; i != 24; ++i) {
    const bool guest_entry = i < 20 && i % 5 == 4;
    EXPECT_EQ(steps[i].dimension, guest_entry ? Dimension::kGuest : Dimension::kEpt) << i;
    EXPECT_EQ(steps[i].level, guest_entry ? 4 - i / 5 : 4 - i % 5) << i;
    EXPECT_EQ(steps[i].entry & 7, 7U) << i;
  }
  EXPECT_EQ(steps[4].address, f.guest[4]);
  EXPECT_EQ(steps[19].machine_address, f.guest[1]);
  EXPECT_EQ(steps[23].machine_address, f.final_ept[1]);
}

TEST(Composition, RecorderKeepsTheFirstStepsAndCountsAll) {
  NestedFixture f;
  RecordSteps<3> recorder;
  ASSERT_TRUE(walk_nested(f.tables.memory, f.paging, f.ept, LinearAddress{NestedFixture::kLinear},
                          {}, recorder)
                  .translated());
  EXPECT_EQ(recorder.steps().size(), 3U);
  EXPECT_EQ(recorder.total(), 24U);
  recorder.clear();
  EXPECT_TRUE(recorder.steps().empty());
}

/// The machine address of a guest's entry is where EPT puts it.
TEST(Composition, StepsKnowBothAddressesOfAGuestEntry) {
  NestedFixture f;
  constexpr std::uint64_t kMoved = 0x8'0000;
  const std::uint64_t page = f.guest[1] & ~low_bits(12);
  const std::uint64_t entry = f.tables.get(f.guest[1]);
  f.tables.put(kMoved + (f.guest[1] & low_bits(12)), entry);
  f.tables.map(f.ept.eptp.root(), 4, 1, page, kMoved, 7, 7 | NestedFixture::kWriteBack);
  RecordSteps<kLongestNestedWalk> recorder;
  ASSERT_TRUE(walk_nested(f.tables.memory, f.paging, f.ept, LinearAddress{NestedFixture::kLinear},
                          {}, recorder)
                  .translated());
  const Step& step = recorder.steps()[19];
  EXPECT_EQ(step.address, f.guest[1]);
  EXPECT_EQ(step.machine_address, kMoved + (f.guest[1] & low_bits(12)));
  EXPECT_EQ(step.entry, entry);
  EXPECT_EQ(step.written_back, entry | bit(5));
}

/// CR3 over EPT12 over EPT01: (4+1)^3 - 1 references, from the same machinery.
TEST(Composition, ThreeDimensionsMake124References) {
  NestedFixture f;
  // EPT01 maps the whole memory of tables, and the page at the end, one to one.
  TableMemory<HostPhysicalAddress> host(1 << 20);
  EptState ept01;
  ept01.eptp.value = 0xf'0000 | 3U << 3 | 6;
  for (std::uint64_t address = 0; address != 0xf'0000; address += 8) {
    host.write(address, f.tables.memory.get64(address));
  }
  const std::uint64_t flags = 7 | NestedFixture::kWriteBack;
  host.write(0xf'0000, std::uint64_t{0xf'1000 | 7});
  host.write(0xf'1000, std::uint64_t{0xf'2000 | 7});
  host.write(0xf'1000 + 8 * 3, std::uint64_t{0xf'2000 | 7});  // NestedFixture::kHostPage
  host.write(0xf'2000, std::uint64_t{0xf'3000 | 7});
  for (std::uint64_t page = 0; page != 256; ++page) {
    host.write(0xf'3000 + 8 * page, page * 4096 | flags);
  }
  NoSteps none;
  TranslatedMemory<PhysicalAddress, UpdateFlags, TableMemory<HostPhysicalAddress>, NoSteps> l1(
      host, ept01, none);
  const auto walk = walk_nested(l1, f.paging, f.ept, LinearAddress{NestedFixture::kLinear}, {});
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(walk.address.value, NestedFixture::kHostPage);
  EptAccess access;
  access.read = true;
  const auto last = walk_ept(host, ept01, walk.address, access);
  ASSERT_TRUE(last.translated());
  EXPECT_EQ(last.address.value, 0U);
  EXPECT_EQ(walk.references() + l1.counts().references + last.counts.references, 124U);
}

TEST(Composition, PageSizeIsTheSmallerOfTheTwo) {
  constexpr unsigned kBits[] = {0, 12, 21, 30};
  for (unsigned guest_page = 1; guest_page <= 3; ++guest_page) {
    for (unsigned ept_page = 1; ept_page <= 3; ++ept_page) {
      NestedFixture f(PagingMode::k4Level, guest_page, ept_page);
      const auto walk =
          walk_nested(f.tables.memory, f.paging, f.ept, LinearAddress{NestedFixture::kLinear}, {});
      ASSERT_TRUE(walk.translated()) << guest_page << ept_page;
      EXPECT_EQ(walk.page_bits, kBits[std::min(guest_page, ept_page)]);
    }
  }
}

TEST(Composition, PagingOffGoesStraightToEpt) {
  NestedFixture f(PagingMode::kNone);
  f.ept.advanced_exit_information = true;
  const auto walk = walk_nested(f.tables.memory, f.paging, f.ept,
                                LinearAddress{NestedFixture::kLinear}, {Access::kWrite, true});
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(walk.references(), 4U);
  EXPECT_EQ(walk.guest_physical.value, NestedFixture::kLinear);
  f.tables.put(f.final_ept[1], 0);
  const auto refused = walk_nested(f.tables.memory, f.paging, f.ept,
                                   LinearAddress{NestedFixture::kLinear}, {Access::kWrite});
  EXPECT_EQ(refused.outcome, NestedOutcome::kEptViolation);
  // Every linear address is then a user-mode address, read/write and executable.
  EXPECT_EQ(refused.exit_qualification, 0x782U);
}

TEST(Composition, UnreachableMemoryEndsTheWalk) {
  NestedFixture f;
  f.tables.put(f.guest[3], std::uint64_t{1} << 30 | 7);
  const auto native =
      walk_linear(f.tables.memory, f.paging, LinearAddress{NestedFixture::kLinear}, {});
  EXPECT_EQ(native.outcome, LinearOutcome::kUnreachable);
  EXPECT_EQ(native.entry_address.value, std::uint64_t{1} << 30);
  f.tables.put(f.final_ept[2], std::uint64_t{1} << 31 | 7);
  EptAccess access;
  access.read = true;
  const auto ept =
      walk_ept(f.tables.memory, f.ept, GuestPhysicalAddress{NestedFixture::kGuestPage}, access);
  EXPECT_EQ(ept.outcome, EptOutcome::kUnreachable);
}

}  // namespace
}  // namespace nestor::ept::testing
