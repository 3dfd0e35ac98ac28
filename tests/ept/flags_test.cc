// SPDX-License-Identifier: MIT

// Accessed and dirty flags in both dimensions, and the proof that a format without them has no code
// to set them.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

constexpr LinearAddress kLinear{NestedFixture::kLinear};
constexpr std::uint64_t kGuestFlags = bit(5) | bit(6);
constexpr std::uint64_t kEptFlags = bit(8) | bit(9);

// --- What exists at compile time -----------------------------------------------------------------

/// Memory that can only be read.
struct ReadOnly {
  using Address = PhysicalAddress;
  bool read32(Address, std::uint32_t&);
  bool read64(Address, std::uint64_t&);
};
static_assert(EntryReader<ReadOnly> && !EntryMemory<ReadOnly>);

struct AllowAll {
  bool operator()(const Descent&, std::uint64_t) const { return true; }
};

/// Whether the walk of `F` with `Effects` compiles on memory `M`.
template <class F, class Effects, class M>
concept Walks = requires(M& memory, const typename F::Rules& rules, WalkCounts& counts,
                         NoSteps& none) {
  descend<F, Effects>(memory, 0, 0, rules, true, AllowAll{}, counts, none);
};

using PlainEpt = Ept<4, NoAccessedDirtyFlags>;

// A format without flags asks for nothing but reads: no path can write an entry back.
static_assert(Walks<PlainEpt, UpdateFlags, ReadOnly> && !kWritesEntries<PlainEpt, UpdateFlags>);
// A format with them needs memory that can be updated, unless the walk only probes.
static_assert(!Walks<Ept<4>, UpdateFlags, ReadOnly> && kWritesEntries<Ept<4>, UpdateFlags>);
static_assert(Walks<Ept<4>, ProbeOnly, ReadOnly> && !kWritesEntries<Ept<4>, ProbeOnly>);
static_assert(!Walks<Pt64<4>, UpdateFlags, ReadOnly> && Walks<Pt64<4>, ProbeOnly, ReadOnly>);
static_assert(!Walks<Pae, UpdateFlags, ReadOnly> && Walks<Pae, ProbeOnly, ReadOnly>);
static_assert(!Walks<Pt32, UpdateFlags, ReadOnly> && Walks<Pt32, ProbeOnly, ReadOnly>);

// Without flags there are no masks to compute with, not masks of 0.
template <class Flags>
concept HasMasks = requires {
  Flags::kAccessed;
}
|| requires { Flags::kDirty; };
static_assert(!HasMasks<NoAccessedDirtyFlags> && HasMasks<AccessedDirtyFlags<5, 6>>);

// Setting a flag changes nothing else that an entry says, in no format; and the dirty flag lies
// right above the accessed flag, so that one shift by the difference folds one onto the other.
template <class F>
constexpr bool kFlagsAreApart =
    F::Flags::kDirty == F::Flags::kAccessed << 1 &&
    ((F::Flags::kAccessed | F::Flags::kDirty) & F::table_address(~std::uint64_t{0})) == 0 &&
    ((F::Flags::kAccessed | F::Flags::kDirty) & F::page_address(~std::uint64_t{0}, 1)) == 0;
static_assert(kFlagsAreApart<Pt32> && kFlagsAreApart<Pae> && kFlagsAreApart<Pt64<4>> &&
              kFlagsAreApart<Pt64<5>> && kFlagsAreApart<Ept<4>> && kFlagsAreApart<Ept<5>>);
static_assert(((OrdinaryEntry::Flags::kAccessed | OrdinaryEntry::Flags::kDirty) &
               (OrdinaryEntry::kPresent | OrdinaryEntry::kWritable | OrdinaryEntry::kUser |
                OrdinaryEntry::kWriteThrough | OrdinaryEntry::kCacheDisable |
                OrdinaryEntry::kPageSize | OrdinaryEntry::kGlobal |
                OrdinaryEntry::kExecuteDisable)) == 0);
// The two dimensions keep their flags in different places.
static_assert(((OrdinaryEntry::Flags::kAccessed | OrdinaryEntry::Flags::kDirty) &
               (EptFlags::kAccessed | EptFlags::kDirty)) == 0);

/// Memory whose update is declared but defined nowhere: a program that contains a call of it does
/// not link, whether or not the call could ever be made.
struct UpdateIsUndefined {
  using Address = PhysicalAddress;
  bool read32(Address address, std::uint32_t& out) { return tables.read32(address, out); }
  bool read64(Address address, std::uint64_t& out) { return tables.read64(address, out); }
  Exchange compare_exchange(Address, std::uint32_t, std::uint32_t);
  Exchange compare_exchange(Address, std::uint64_t, std::uint64_t);

  TableMemory<PhysicalAddress> tables;
};
static_assert(EntryMemory<UpdateIsUndefined>);

TEST(FormatWithoutFlags, ContainsNoCodeThatWrites) {
  UpdateIsUndefined memory{TableMemory<PhysicalAddress>(1 << 16)};
  memory.tables.write(0x1000, std::uint64_t{0x2000 | 7});
  memory.tables.write(0x2000, std::uint64_t{0x3000 | 7});
  memory.tables.write(0x3000, std::uint64_t{0x4000 | 7});
  memory.tables.write(0x4000, std::uint64_t{0x5000 | 7});
  EptState state;
  state.eptp.value = 0x1000 | 3U << 3 | 6 | NestedFixture::kFlagsEnabled;
  WalkCounts counts;
  NoSteps none;
  const Descent end = descend<PlainEpt, UpdateFlags>(memory, 0x1000, 0, PlainEpt::Rules(state),
                                                     true, AllowAll{}, counts, none);
  EXPECT_EQ(end.end, DescentEnd::kPage);
  EXPECT_EQ(end.entry, 0x5000U | 7);
  EXPECT_EQ(counts.references, 4U);
  EXPECT_EQ(counts.updates, 0U);
}

TEST(FormatWithoutFlags, ProbeContainsNoCodeThatWrites) {
  NestedFixture f;
  f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
  UpdateIsUndefined memory{f.tables.memory};
  EXPECT_TRUE(walk_linear<ProbeOnly>(memory, f.paging, kLinear, {Access::kWrite}).translated());
  EXPECT_TRUE(
      walk_nested<ProbeOnly>(memory, f.paging, f.ept, kLinear, {Access::kWrite}).translated());
}

// --- Ordinary paging -----------------------------------------------------------------------------

struct ModeAndPage {
  PagingMode mode;
  unsigned levels;
  unsigned page_level;
};

constexpr ModeAndPage kModes[] = {
    {PagingMode::k32Bit, 2, 1},  {PagingMode::k32Bit, 2, 2},  {PagingMode::kPae, 2, 1},
    {PagingMode::kPae, 2, 2},    {PagingMode::k4Level, 4, 1}, {PagingMode::k4Level, 4, 2},
    {PagingMode::k4Level, 4, 3}, {PagingMode::k5Level, 5, 1}, {PagingMode::k5Level, 5, 3}};

std::uint64_t guest_flags(NestedFixture& f, unsigned level) {
  return f.tables.get(f.guest[level], f.index_bits) & kGuestFlags;
}

TEST(GuestFlags, ReadSetsAccessedEverywhereAndDirtyNowhere) {
  for (const ModeAndPage& mode : kModes) {
    for (const Access::Kind kind : {Access::kRead, Access::kFetch}) {
      NestedFixture f(mode.mode, mode.page_level);
      const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, {kind});
      ASSERT_TRUE(walk.translated());
      EXPECT_FALSE(walk.dirty);
      EXPECT_EQ(walk.counts.updates, mode.levels - mode.page_level + 1);
      for (unsigned level = mode.page_level; level <= mode.levels; ++level) {
        EXPECT_EQ(guest_flags(f, level), bit(5));
      }
    }
  }
}

TEST(GuestFlags, WriteSetsDirtyInTheEntryOfThePageOnly) {
  for (const ModeAndPage& mode : kModes) {
    NestedFixture f(mode.mode, mode.page_level);
    const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, {Access::kWrite});
    ASSERT_TRUE(walk.translated());
    EXPECT_TRUE(walk.dirty);
    EXPECT_EQ(walk.counts.updates, mode.levels - mode.page_level + 1);
    for (unsigned level = mode.page_level; level <= mode.levels; ++level) {
      EXPECT_EQ(guest_flags(f, level), level == mode.page_level ? kGuestFlags : bit(5));
    }
    // A second time there is nothing left to set.
    EXPECT_EQ(walk_linear(f.tables.memory, f.paging, kLinear, {Access::kWrite}).counts.updates, 0U);
  }
}

TEST(GuestFlags, DeniedAccessLeavesTheEntryOfThePageAlone) {
  for (const ModeAndPage& mode : kModes) {
    NestedFixture f(mode.mode, mode.page_level);
    const std::uint64_t entry = f.tables.get(f.guest[mode.page_level], f.index_bits);
    f.tables.put(f.guest[mode.page_level], entry & ~bit(1), f.index_bits);
    const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, {Access::kWrite, true});
    EXPECT_EQ(walk.outcome, LinearOutcome::kPageFault);
    EXPECT_EQ(guest_flags(f, mode.page_level), 0U);
    // The tables above were used.
    for (unsigned level = mode.page_level + 1; level <= mode.levels; ++level) {
      EXPECT_EQ(guest_flags(f, level), bit(5));
    }
  }
}

TEST(GuestFlags, FaultingEntryIsNotAccessed) {
  for (const std::uint64_t fault : {bit(0), bit(45)}) {  // not present; reserved bit
    NestedFixture f;
    f.paging.maxphyaddr = 40;
    f.tables.put(f.guest[2], f.tables.get(f.guest[2]) ^ fault);
    EXPECT_EQ(walk_linear(f.tables.memory, f.paging, kLinear, {}).outcome,
              LinearOutcome::kPageFault);
    EXPECT_EQ(guest_flags(f, 2), 0U);
    EXPECT_EQ(guest_flags(f, 1), 0U);
    EXPECT_EQ(guest_flags(f, 3), bit(5));
  }
}

TEST(GuestFlags, SupervisorWriteToReadOnlyPageIsDirtyToo) {
  NestedFixture f;
  f.paging.wp = false;
  f.tables.put(f.guest[1], f.tables.get(f.guest[1]) & ~bit(1));
  const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, {Access::kWrite});
  ASSERT_TRUE(walk.translated());
  EXPECT_FALSE(walk.rights.writable);
  EXPECT_EQ(guest_flags(f, 1), kGuestFlags);
}

// --- EPT -----------------------------------------------------------------------------------------

std::uint64_t ept_flags(NestedFixture& f, const TableBuilder::Chain& chain, unsigned level) {
  return f.tables.get(chain[level]) & kEptFlags;
}

NestedFixture with_ept_flags(PagingMode mode = PagingMode::k4Level) {
  NestedFixture f(mode);
  f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
  return f;
}

TEST(EptFlagsInTables, NothingIsWrittenWhileDisabled) {
  NestedFixture f;
  const auto walk = walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {Access::kWrite});
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(walk.ept_counts.updates, 0U);
  EXPECT_EQ(walk.guest_counts.updates, 4U);
  for (unsigned level = 1; level <= 4; ++level) {
    EXPECT_EQ(ept_flags(f, f.final_ept, level), 0U);
  }
}

TEST(EptFlagsInTables, ReadMarksTablesOfTheGuestDirtyAndItsPageAccessed) {
  NestedFixture f = with_ept_flags();
  const auto walk = walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {});
  ASSERT_TRUE(walk.translated());
  EXPECT_FALSE(walk.dirty);
  EXPECT_EQ(ept_flags(f, f.final_ept, 1), bit(8));
  for (unsigned level = 1; level <= 4; ++level) {
    EXPECT_EQ(ept_flags(f, f.guest_tables_ept[level], 1), kEptFlags) << level;
    for (unsigned above = 2; above <= 4; ++above) {
      EXPECT_EQ(ept_flags(f, f.guest_tables_ept[level], above), bit(8));
    }
  }
}

TEST(EptFlagsInTables, WriteMarksThePageDirty) {
  NestedFixture f = with_ept_flags();
  const auto walk = walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {Access::kWrite});
  ASSERT_TRUE(walk.translated());
  EXPECT_TRUE(walk.dirty);
  EXPECT_EQ(ept_flags(f, f.final_ept, 1), kEptFlags);
  const auto again = walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {Access::kWrite});
  EXPECT_EQ(again.updates(), 0U);
}

TEST(EptFlagsInTables, DirtyNeedsBothDimensions) {
  NestedFixture f = with_ept_flags();
  f.tables.put(f.guest[1], f.tables.get(f.guest[1]) | bit(6));
  EXPECT_FALSE(walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {}).dirty);
  f.tables.put(f.final_ept[1], f.tables.get(f.final_ept[1]) | bit(9));
  EXPECT_TRUE(walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {}).dirty);
  f.tables.put(f.guest[1], f.tables.get(f.guest[1]) & ~bit(6));
  EXPECT_FALSE(walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {}).dirty);
}

TEST(EptFlagsInTables, DeniedAccessLeavesTheEntryOfThePageAlone) {
  NestedFixture f = with_ept_flags();
  f.tables.put(f.final_ept[1], f.tables.get(f.final_ept[1]) & ~bit(1));
  EXPECT_EQ(walk_nested(f.tables.memory, f.paging, f.ept, kLinear, {Access::kWrite}).outcome,
            NestedOutcome::kEptViolation);
  EXPECT_EQ(ept_flags(f, f.final_ept, 1), 0U);
  EXPECT_EQ(ept_flags(f, f.final_ept, 2), bit(8));
}

TEST(EptFlagsInTables, NewlyDirtyOnceOnly) {
  NestedFixture f = with_ept_flags();
  const GuestPhysicalAddress gpa{NestedFixture::kGuestPage};
  EptAccess read;
  read.read = true;
  EptAccess write;
  write.write = true;
  EXPECT_FALSE(walk_ept(f.tables.memory, f.ept, gpa, read).newly_dirty);
  EXPECT_TRUE(walk_ept(f.tables.memory, f.ept, gpa, write).newly_dirty);
  EXPECT_FALSE(walk_ept(f.tables.memory, f.ept, gpa, write).newly_dirty);
}

TEST(EptFlagsInTables, PdpteLoadIsARead) {
  NestedFixture f = with_ept_flags(PagingMode::kPae);
  const std::uint64_t page = f.guest[2] & ~low_bits(12);
  NoSteps none;
  TranslatedMemory<GuestPhysicalAddress, UpdateFlags, decltype(f.tables.memory), NoSteps> memory(
      f.tables.memory, f.ept, none, EptPurpose::kPdpteLoad);
  std::array<std::uint64_t, 4> pdptes{};
  f.tables.put(page + 0x20, 0x1234'5001);
  ASSERT_TRUE(read_pdptes(memory, page + 0x20 + 0x1f, pdptes));
  EXPECT_EQ(pdptes[0], 0x1234'5001U);
  EXPECT_EQ(ept_flags(f, f.guest_tables_ept[2], 1), bit(8));
  f.tables.put(f.guest_tables_ept[2][1], 0);
  ASSERT_FALSE(read_pdptes(memory, page, pdptes));
  EXPECT_EQ(memory.last().outcome, EptOutcome::kViolation);
  EXPECT_EQ(memory.last().exit_qualification, 1U);
  EXPECT_EQ(memory.last_input().value, page);
}

// --- Races ---------------------------------------------------------------------------------------

/// Memory in which another processor changes an entry just before each of the first updates.
class Contended {
 public:
  using Address = PhysicalAddress;

  Contended(TableMemory<PhysicalAddress>& memory, std::vector<Update> changes)
      : memory_(memory), changes_(std::move(changes)) {}

  bool read32(Address address, std::uint32_t& out) { return memory_.read32(address, out); }
  bool read64(Address address, std::uint64_t& out) { return memory_.read64(address, out); }
  template <class Entry>
  Exchange compare_exchange(Address address, Entry expected, Entry desired) {
    if (next_ != changes_.size()) {
      memory_.write(changes_[next_].address, changes_[next_].value);
      ++next_;
    }
    return memory_.compare_exchange(address, expected, desired);
  }

 private:
  TableMemory<PhysicalAddress>& memory_;
  std::vector<Update> changes_;
  std::size_t next_ = 0;
};

TEST(Race, EntryThatChangesIsReadAgain) {
  NestedFixture f;
  const std::uint64_t entry = f.tables.get(f.guest[4]);
  Contended memory(f.tables.memory, {{f.guest[4], entry | bit(9)}});
  const auto walk = walk_linear(memory, f.paging, kLinear, {});
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(f.tables.get(f.guest[4]), entry | bit(9) | bit(5));
  EXPECT_EQ(walk.counts.references, 5U);
  EXPECT_EQ(walk.counts.updates, 4U);
}

TEST(Race, EntryThatVanishesFaults) {
  NestedFixture f;
  Contended memory(f.tables.memory, {{f.guest[4], 0}});
  const auto walk = walk_linear(memory, f.paging, kLinear, {});
  EXPECT_EQ(walk.outcome, LinearOutcome::kPageFault);
  EXPECT_EQ(walk.error_code, 0U);
  EXPECT_EQ(f.tables.get(f.guest[4]), 0U);
}

TEST(Race, WriteAccessWithdrawnMeanwhileFaults) {
  NestedFixture f;
  for (unsigned level = 2; level <= 4; ++level) {
    f.tables.put(f.guest[level], f.tables.get(f.guest[level]) | bit(5));
  }
  const std::uint64_t read_only = f.tables.get(f.guest[1]) & ~bit(1);
  Contended memory(f.tables.memory, {{f.guest[1], read_only}});
  const auto walk = walk_linear(memory, f.paging, kLinear, {Access::kWrite});
  EXPECT_EQ(walk.error_code, 3U);
  EXPECT_EQ(f.tables.get(f.guest[1]), read_only);
}

/// Memory whose entries cannot be updated because they are gone.
class Vanishing : public TableMemory<PhysicalAddress> {
 public:
  explicit Vanishing(const TableMemory& from) : TableMemory(from) {}
  template <class Entry>
  Exchange compare_exchange(Address, Entry, Entry) {
    return Exchange::kUnreachable;
  }
};

TEST(Race, UpdateOfUnreachableMemoryEndsTheWalk) {
  NestedFixture f;
  Vanishing memory(f.tables.memory);
  const auto walk = walk_linear(memory, f.paging, kLinear, {});
  EXPECT_EQ(walk.outcome, LinearOutcome::kUnreachable);
  EXPECT_EQ(walk.entry_address.value, f.guest[4]);
  const auto nested = walk_nested(memory, f.paging, f.ept, kLinear, {});
  EXPECT_EQ(nested.outcome, NestedOutcome::kUnreachable);
}

}  // namespace
}  // namespace nestor::ept::testing
