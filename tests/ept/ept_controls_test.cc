// SPDX-License-Identifier: MIT

// The bits of EPT entries that VM-execution controls define: with the control, what the manual
// says; without it, ignored. Swept over the levels of 4-level and 5-level EPT.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "ept/caching_memory.h"
#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

constexpr LinearAddress kLinear{NestedFixture::kLinear};
constexpr std::uint64_t kVerify = bit(57), kPagingWrite = bit(58), kSubPage = bit(61),
                        kSuppress = bit(63);
constexpr unsigned kDefinedBits[] = {57, 58, 60, 61, 63};

NestedWalk<PhysicalAddress> walk(NestedFixture& f, Access access) {
  return walk_nested(f.tables.memory, f.paging, f.ept, kLinear, access);
}

void change(NestedFixture& f, std::uint64_t address, std::uint64_t clear, std::uint64_t set) {
  f.tables.put(address, (f.tables.get(address) & ~clear) | set);
}

struct Shape {
  unsigned ept_levels;
  unsigned ept_page;
};

template <class Body>
void for_each_shape(const Body& body) {
  for (unsigned levels = 4; levels <= 5; ++levels) {
    for (unsigned page = 1; page <= 3; ++page) {
      SCOPED_TRACE("EPT levels " + std::to_string(levels) + " page level " + std::to_string(page));
      body(Shape{levels, page});
    }
  }
}

/// Without paging, so that no entry serves the guest's tables too.
NestedFixture fixture(Shape shape) {
  return NestedFixture(PagingMode::kNone, 1, shape.ept_page, shape.ept_levels);
}

// --- Ignored bits --------------------------------------------------------------------------------

TEST(EptControls, WithoutTheirControlsTheBitsAreIgnoredAtEveryLevel) {
  for_each_shape([](Shape shape) {
    for (unsigned level = shape.ept_page; level <= shape.ept_levels; ++level) {
      for (const unsigned position : kDefinedBits) {
        for (const Access::Kind kind : {Access::kRead, Access::kWrite, Access::kFetch}) {
          NestedFixture f = fixture(shape);
          change(f, f.final_ept[level], 0, bit(position));
          EXPECT_TRUE(walk(f, {kind}).translated()) << "bit " << position << " level " << level;
          // Nor do they give a right that the entry does not have.
          change(f, f.final_ept[level], bit(1), 0);
          const auto denied = walk(f, {Access::kWrite});
          EXPECT_EQ(denied.outcome, NestedOutcome::kEptViolation);
          EXPECT_EQ(denied.exit_qualification, 0x1aaU);
          EXPECT_FALSE(denied.convertible);
        }
      }
    }
  });
}

TEST(EptControls, InEntriesThatReferenceTablesTheBitsAreIgnoredAlways) {
  for_each_shape([](Shape shape) {
    for (unsigned level = shape.ept_page + 1; level <= shape.ept_levels; ++level) {
      for (const unsigned position : kDefinedBits) {
        NestedFixture f = fixture(shape);
        f.ept.violation_exceptions = f.ept.paging_write_control = true;
        f.ept.guest_paging_verification = f.ept.sub_page_write = true;
        change(f, f.final_ept[level], 0, bit(position));
        EXPECT_TRUE(walk(f, {Access::kWrite}).translated());
        change(f, f.final_ept[level], bit(1), 0);
        const auto denied = walk(f, {Access::kWrite});
        EXPECT_EQ(denied.exit_qualification, 0x1aaU) << "bit " << position << " level " << level;
        EXPECT_TRUE(denied.convertible);
      }
    }
  });
}

/// Supervisor shadow stacks: this processor has none, and EPTP bit 7 is never set.
TEST(EptControls, SupervisorShadowStackBitIsIgnored) {
  for_each_shape([](Shape shape) {
    NestedFixture f = fixture(shape);
    change(f, f.final_ept[shape.ept_page], 0, bit(60));
    for (const Access::Kind kind : {Access::kRead, Access::kWrite, Access::kFetch}) {
      EXPECT_TRUE(walk(f, {kind}).translated());
    }
  });
}

// --- Suppress #VE --------------------------------------------------------------------------------

TEST(SuppressVe, TheEntryThatEndsTheTranslationDecides) {
  for_each_shape([](Shape shape) {
    for (unsigned level = shape.ept_page; level <= shape.ept_levels; ++level) {
      for (const bool suppress : {false, true}) {
        NestedFixture f = fixture(shape);
        f.ept.violation_exceptions = true;
        // Not present at `level`.
        const std::uint64_t entry = f.tables.get(f.final_ept[level]);
        f.tables.put(f.final_ept[level], suppress ? kSuppress : 0);
        auto refused = walk(f, {Access::kRead});
        EXPECT_EQ(refused.outcome, NestedOutcome::kEptViolation);
        EXPECT_EQ(refused.convertible, !suppress);
        // Read-only at `level`: the entry that maps the page decides, not this one.
        f.tables.put(f.final_ept[level], (entry & ~bit(1)) | (suppress ? kSuppress : 0));
        refused = walk(f, {Access::kWrite});
        EXPECT_EQ(refused.outcome, NestedOutcome::kEptViolation);
        EXPECT_EQ(refused.convertible, level != shape.ept_page || !suppress);
        f.ept.violation_exceptions = false;
        EXPECT_FALSE(walk(f, {Access::kWrite}).convertible);
      }
    }
  });
}

TEST(SuppressVe, AtAGuestEntryToo) {
  for (unsigned level = 1; level <= 4; ++level) {
    for (const bool suppress : {false, true}) {
      NestedFixture f;
      f.ept.violation_exceptions = true;
      const std::uint64_t epte = f.guest_tables_ept[level][1];
      change(f, epte, bit(1), suppress ? kSuppress : 0);  // the accessed flag cannot be set
      const auto refused = walk(f, {Access::kRead});
      EXPECT_EQ(refused.outcome, NestedOutcome::kEptViolation);
      EXPECT_EQ(refused.guest_physical.value, f.guest[level]);
      EXPECT_EQ(refused.convertible, !suppress);
    }
  }
}

TEST(SuppressVe, AMisconfigurationIsNeverConvertible) {
  NestedFixture f;
  f.ept.violation_exceptions = true;
  change(f, f.final_ept[1], bit(0), 0);
  const auto refused = walk(f, {Access::kRead});
  EXPECT_EQ(refused.outcome, NestedOutcome::kEptMisconfiguration);
  EXPECT_FALSE(refused.convertible);
}

/// No entry is used, so none allows it.
TEST(SuppressVe, AnAddressBeyondFourLevelsIsNotConvertible) {
  NestedFixture f;
  f.ept.violation_exceptions = true;
  EptAccess access;
  access.read = true;
  const auto refused = walk_ept(f.tables.memory, f.ept, GuestPhysicalAddress{bit(48)}, access);
  EXPECT_EQ(refused.outcome, EptOutcome::kViolation);
  EXPECT_FALSE(refused.convertible);
}

// --- Paging-write access -------------------------------------------------------------------------

/// Each guest entry in turn lies in a page that EPT maps read-only.
TEST(PagingWrite, LetsGuestPagingSetItsFlags) {
  for (unsigned ept_levels = 4; ept_levels <= 5; ++ept_levels) {
    for (unsigned table_page = 1; table_page <= 3; ++table_page) {
      for (const bool ept_flags : {false, true}) {
        for (const bool has_bit : {false, true}) {
          for (const bool control : {false, true}) {
            NestedFixture f(PagingMode::k4Level, 1, 1, ept_levels, table_page);
            if (ept_flags) f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
            f.ept.paging_write_control = control;
            change(f, f.guest_tables_ept[2][table_page], bit(1), has_bit ? kPagingWrite : 0);
            const auto result = walk(f, {Access::kWrite});
            if (control && has_bit) {
              EXPECT_TRUE(result.translated());
              EXPECT_NE(f.tables.get(f.guest[2]) & bit(5), 0U);
            } else {
              EXPECT_EQ(result.outcome, NestedOutcome::kEptViolation);
              EXPECT_EQ(result.exit_qualification, 0xabU);
            }
          }
        }
      }
    }
  }
}

TEST(PagingWrite, NeedsWriteAccessInTheEntriesAbove) {
  for (unsigned level = 2; level <= 4; ++level) {
    NestedFixture f;
    f.ept.paging_write_control = true;
    change(f, f.guest_tables_ept[1][1], bit(1), kPagingWrite);
    // This entry is above the guest's tables only.
    change(f, f.guest_tables_ept[1][level], bit(1), kPagingWrite);
    EXPECT_EQ(walk(f, {Access::kRead}).outcome, NestedOutcome::kEptViolation) << level;
  }
}

TEST(PagingWrite, AllowsNoOtherWrite) {
  for_each_shape([](Shape shape) {
    NestedFixture f = fixture(shape);
    f.ept.paging_write_control = true;
    change(f, f.final_ept[shape.ept_page], bit(1), kPagingWrite);
    EXPECT_TRUE(walk(f, {Access::kRead}).translated());
    EXPECT_FALSE(walk(f, {Access::kRead}).ept_rights.write);
    EXPECT_EQ(walk(f, {Access::kWrite}).exit_qualification, 0x1aaU);
  });
}

TEST(PagingWrite, WithoutReadAccessItIsAMisconfiguration) {
  for_each_shape([](Shape shape) {
    NestedFixture f = fixture(shape);
    change(f, f.final_ept[shape.ept_page], bits(1, 0), kPagingWrite);  // execute-only
    EXPECT_TRUE(walk(f, {Access::kFetch}).translated());
    f.ept.paging_write_control = true;
    EXPECT_EQ(walk(f, {Access::kFetch}).outcome, NestedOutcome::kEptMisconfiguration);
    change(f, f.final_ept[shape.ept_page], kPagingWrite, 0);
    EXPECT_TRUE(walk(f, {Access::kFetch}).translated());
  });
}

// --- Guest-paging verification -------------------------------------------------------------------

TEST(GuestPagingVerification, EveryGuestEntryMustLieInAPageOfPagingWrites) {
  for (unsigned missing = 0; missing <= 4; ++missing) {  // 0: none is missing
    for (unsigned controls = 0; controls != 4; ++controls) {
      for (const bool verify : {false, true}) {
        NestedFixture f;
        f.ept.guest_paging_verification = (controls & 1) != 0;
        f.ept.paging_write_control = (controls & 2) != 0;
        for (unsigned level = 1; level <= 4; ++level) {
          if (level != missing) change(f, f.guest_tables_ept[level][1], 0, kPagingWrite);
        }
        if (verify) change(f, f.final_ept[1], 0, kVerify);
        const auto result = walk(f, {Access::kRead});
        if (missing != 0 && controls == 3 && verify) {
          EXPECT_EQ(result.outcome, NestedOutcome::kEptViolation);
          EXPECT_EQ(result.guest_physical.value, NestedFixture::kGuestPage);
          EXPECT_EQ(result.exit_qualification, 0x81b9U);
          EXPECT_EQ(f.tables.get(f.final_ept[1]) & bits(9, 8), 0U);
        } else {
          EXPECT_TRUE(result.translated());
        }
      }
    }
  }
}

/// The second walk finds in the cache where the guest's tables are.
TEST(GuestPagingVerification, CachedTranslationsOfTablesCountAsWalkedOnes) {
  for (unsigned missing = 0; missing <= 4; ++missing) {  // 0: none is missing
    NestedFixture f;
    f.ept.guest_paging_verification = f.ept.paging_write_control = true;
    for (unsigned level = 1; level <= 4; ++level) {
      if (level != missing) change(f, f.guest_tables_ept[level][1], 0, kPagingWrite);
    }
    change(f, f.final_ept[1], 0, kVerify);
    using Cache = TranslationCache<64>;
    using Memory = CachingMemory<decltype(f.tables.memory), Cache>;
    const auto cache = std::make_unique<Cache>();
    for (const bool again : {false, true}) {
      Memory memory(f.tables.memory, *cache, {.kind = MappingKind::kCombined, .ept_root = 0x5000},
                    Memory::Tables::kIgnore);
      const auto result = walk_nested(memory, f.paging, f.ept, kLinear, {Access::kRead});
      EXPECT_EQ(result.translated(), missing == 0) << missing;
      EXPECT_EQ(memory.used(), again);
    }
  }
}

TEST(GuestPagingVerification, ADeniedRightIsReportedAsSuch) {
  NestedFixture f;
  f.ept.guest_paging_verification = f.ept.paging_write_control = true;
  change(f, f.final_ept[1], bit(1), kVerify);
  EXPECT_EQ(walk(f, {Access::kWrite}).exit_qualification, 0x1aaU);
  EXPECT_EQ(walk(f, {Access::kRead}).exit_qualification, 0x81a9U);
}

TEST(GuestPagingVerification, WithoutPagingThereIsNothingToVerify) {
  NestedFixture f(PagingMode::kNone);
  f.ept.guest_paging_verification = f.ept.paging_write_control = true;
  change(f, f.final_ept[1], 0, kVerify);
  EXPECT_TRUE(walk(f, {Access::kRead}).translated());
}

// --- Sub-page write permissions ------------------------------------------------------------------

/// The fixture's page without write access but with bit 61, and tables that permit `vector`.
struct SubPages : NestedFixture {
  explicit SubPages(std::uint64_t vector, unsigned ept_levels = 4,
                    PagingMode mode = PagingMode::k4Level)
      : NestedFixture(mode, 1, 1, ept_levels) {
    ept.sub_page_write = true;
    ept.sub_page_table = tables.take_page();
    chain = tables.map(ept.sub_page_table, 4, 1, final_gpa, 0, 1, vector);
    change(*this, final_ept[1], bit(1), kSubPage);
  }
  TableBuilder::Chain chain{};
};

NestedWalk<PhysicalAddress> write_at(NestedFixture& f, unsigned offset, unsigned size = 1) {
  Access access{Access::kWrite};
  access.size = static_cast<std::uint16_t>(size);
  return walk_nested(f.tables.memory, f.paging, f.ept,
                     LinearAddress{NestedFixture::kLinear + offset}, access);
}

/// Bits 63:52 and 11:0 of the pointers are reserved, or say something else than an address. (Memory
/// ends: an address with one of them would be unreachable.)
TEST(SubPage, OnlyTheAddressOfEachPointerCounts) {
  for (const auto mode : {PagingMode::k4Level, PagingMode::k5Level}) {
    for (unsigned number = 0; number != 64; ++number) {
      if (number >= 12 && number < 52) continue;
      SubPages f(bit(0), 4, mode);
      f.ept.sub_page_table |= bit(number);
      f.paging.cr3 |= bit(number);
      if (number >= 52) f.ept.eptp.value |= bit(number);
      EXPECT_TRUE(write_at(f, 0).by_sub_page) << number;
    }
  }
}

TEST(SubPage, EachBitOfTheVectorPermitsItsSubPage) {
  for (unsigned ept_levels = 4; ept_levels <= 5; ++ept_levels) {
    for (unsigned permitted = 0; permitted != 32; ++permitted) {
      SubPages f(bit(2 * permitted), ept_levels);
      for (unsigned sub_page = 0; sub_page != 32; ++sub_page) {
        for (const unsigned offset : {0U, 127U}) {
          const auto result = write_at(f, sub_page * 128 + offset);
          if (sub_page == permitted) {
            EXPECT_TRUE(result.translated());
            EXPECT_TRUE(result.by_sub_page);
            EXPECT_FALSE(result.ept_rights.write);  // another write is another question
          } else {
            EXPECT_EQ(result.outcome, NestedOutcome::kEptViolation);
            EXPECT_EQ(result.exit_qualification, 0x1aaU);
          }
        }
      }
    }
  }
}

TEST(SubPage, AWriteNeedsEverySubPageThatItTouches) {
  SubPages f(bit(2 * 4) | bit(2 * 5) | bit(2 * 31));
  EXPECT_TRUE(write_at(f, 4 * 128, 256).translated());
  EXPECT_TRUE(write_at(f, 5 * 128 - 4, 8).translated());
  EXPECT_FALSE(write_at(f, 4 * 128 - 1, 2).translated());
  EXPECT_FALSE(write_at(f, 6 * 128 - 1, 2).translated());
  // What lies on the next page is an access of its own.
  EXPECT_TRUE(write_at(f, 4095, 8).translated());
}

TEST(SubPage, CostsFourReferencesMoreAndTheyAreRecorded) {
  SubPages f(~std::uint64_t{0} & 0x5555'5555'5555'5555);
  RecordSteps<kLongestNestedWalk + kLongestSubPageWalk> recorder;
  const auto result =
      walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {Access::kWrite}, recorder);
  ASSERT_TRUE(result.translated());
  EXPECT_EQ(result.references(), 28U);
  ASSERT_EQ(recorder.total(), 28U);
  for (unsigned level = 4; level >= 1; --level) {
    const Step& step = recorder.steps()[24 + 4 - level];
    EXPECT_EQ(step.dimension, Dimension::kSubPage);
    EXPECT_EQ(step.level, level);
    EXPECT_EQ(step.address, f.chain[level]);
    EXPECT_EQ(step.entry, f.tables.get(f.chain[level]));
  }
  EXPECT_EQ(walk(f, {Access::kRead}).references(), 24U);
}

TEST(SubPage, AllowedWritesSetTheDirtyFlag) {
  SubPages f(1);
  f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
  EXPECT_FALSE(write_at(f, 128).translated());
  EXPECT_EQ(f.tables.get(f.final_ept[1]) & bits(9, 8), 0U);
  EXPECT_TRUE(write_at(f, 0).translated());
  EXPECT_EQ(f.tables.get(f.final_ept[1]) & bits(9, 8), bits(9, 8));
}

TEST(SubPage, MissAtEveryLevel) {
  for (unsigned level = 2; level <= 4; ++level) {
    SubPages f(1);
    f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
    // Nothing else counts in an entry that is not valid.
    f.tables.put(f.chain[level], ~bit(0));
    const auto result = write_at(f, 0);
    EXPECT_EQ(result.outcome, NestedOutcome::kSubPageEvent);
    EXPECT_EQ(result.exit_qualification, 0x800U);
    EXPECT_EQ(result.guest_physical.value, NestedFixture::kGuestPage);
    EXPECT_FALSE(result.convertible);
    EXPECT_EQ(f.tables.get(f.final_ept[1]) & bits(9, 8), 0U);
  }
}

TEST(SubPage, EveryReservedBitIsAMisconfiguration) {
  for (const unsigned maxphyaddr : {36U, 39U, 46U, 52U}) {
    for (unsigned level = 1; level <= 4; ++level) {
      for (unsigned position = 1; position != 64; ++position) {
        SubPages f(1);
        f.ept.maxphyaddr = static_cast<std::uint8_t>(maxphyaddr);
        const bool address = level > 1 && position >= 12 && position < maxphyaddr;
        if (address) continue;
        change(f, f.chain[level], 0, bit(position));
        const auto result = write_at(f, 0);
        const bool reserved = level > 1 || position % 2 == 1;
        EXPECT_EQ(result.outcome,
                  reserved ? NestedOutcome::kSubPageEvent : NestedOutcome::kTranslated)
            << "level " << level << " bit " << position << " maxphyaddr " << maxphyaddr;
        EXPECT_EQ(result.exit_qualification, 0U);
      }
    }
  }
}

/// Bit 1 may be clear in any entry of the translation, not only in the last.
TEST(SubPage, WriteAccessMayBeMissingAtAnyLevel) {
  for (unsigned ept_levels = 4; ept_levels <= 5; ++ept_levels) {
    for (unsigned level = 2; level <= ept_levels; ++level) {
      SubPages f(1, ept_levels, PagingMode::kNone);
      change(f, f.final_ept[1], 0, bit(1));
      change(f, f.final_ept[level], bit(1), 0);
      EXPECT_TRUE(write_at(f, 0).translated()) << level;
      EXPECT_FALSE(write_at(f, 128).translated()) << level;
    }
  }
}

TEST(SubPage, OtherAccessesAreNotEligible) {
  // A larger page.
  for (unsigned page = 2; page <= 3; ++page) {
    NestedFixture f(PagingMode::k4Level, 1, page);
    f.ept.sub_page_write = true;
    f.ept.sub_page_table = f.tables.take_page();
    change(f, f.final_ept[page], bit(1), kSubPage);
    EXPECT_EQ(write_at(f, 0).exit_qualification, 0x1aaU);
  }
  // Without bit 61; without the control.
  SubPages without_bit(1);
  change(without_bit, without_bit.final_ept[1], kSubPage, 0);
  EXPECT_EQ(write_at(without_bit, 0).exit_qualification, 0x1aaU);
  SubPages without_control(1);
  without_control.ept.sub_page_write = false;
  EXPECT_EQ(write_at(without_control, 0).exit_qualification, 0x1aaU);
  // An access that is not to be judged by them.
  SubPages not_applied(1);
  EXPECT_EQ(write_at(not_applied, 0, 0).exit_qualification, 0x1aaU);
  // Flags of guest entries, with and without flags of EPT.
  for (const bool ept_flags : {false, true}) {
    SubPages f(1);
    if (ept_flags) f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
    change(f, f.guest_tables_ept[1][1], bit(1), kSubPage);
    EXPECT_EQ(walk(f, {Access::kRead}).exit_qualification, 0xabU);
  }
}

TEST(SubPage, AWritablePageNeedsNoTables) {
  SubPages f(0);
  change(f, f.final_ept[1], 0, bit(1));
  f.ept.sub_page_table = bit(40);  // beyond memory
  const auto result = write_at(f, 0);
  EXPECT_TRUE(result.translated());
  EXPECT_FALSE(result.by_sub_page);
  change(f, f.final_ept[1], bit(1), 0);
  EXPECT_EQ(write_at(f, 0).outcome, NestedOutcome::kUnreachable);
}

}  // namespace
}  // namespace nestor::ept::testing
