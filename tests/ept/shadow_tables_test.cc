// SPDX-License-Identifier: MIT

// Shadow tables by themselves: pages and tables come and go, and nothing is lost to the pool.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/ept/shadow_machine.h"

namespace nestor::ept::testing {
namespace {

using Tables = ShadowTables<ShadowEptFormat, Pool>;
constexpr std::uint64_t kInput = 0x1234'5678'9000;
constexpr std::uint64_t kSmall = 5 * kPage | 0x37, kLarge = 0x4000'0000 | 0xb7;

class ShadowTablesTest : public ::testing::Test {
 protected:
  MachineMemory memory{64};
  Pool pool{memory, 16 * kPage, 32};
  Tables tables{pool};

  /// The entry that ends the descent to `input`, and its level.
  std::uint64_t entry_for(std::uint64_t input, unsigned& level) {
    HostPhysicalAddress root;
    EXPECT_TRUE(tables.root(root));
    std::uint64_t table = root.value;
    for (level = 4;; --level) {
      const std::uint64_t entry = memory.word(table + (input >> (3 + 9 * level) & 0x1ff) * 8);
      if (level == 1 || (entry & 7) == 0 || (entry & 0x80) != 0) return entry;
      table = entry & 0xf'ffff'ffff'f000;
    }
  }
  void expect_entry(std::uint64_t input, std::uint64_t entry, unsigned level) {
    unsigned found = 0;
    EXPECT_EQ(entry_for(input, found), entry);
    EXPECT_EQ(found, level);
  }
};

TEST_F(ShadowTablesTest, PagesOfEachSize) {
  for (unsigned level = 1; level <= 3; ++level) {
    const std::uint64_t leaf = level == 1 ? kSmall : kLarge;
    ASSERT_TRUE(tables.map(kInput, 12 + 9 * (level - 1), leaf));
    EXPECT_TRUE(tables.has_root());
    expect_entry(kInput, leaf, level);
    EXPECT_EQ(tables.tables(), 5 - level) << "what was below the larger page is given back";
    EXPECT_EQ(pool.used, 5 - level);
  }
  tables.unmap(kInput);
  expect_entry(kInput, 0, 3);
  EXPECT_EQ(tables.tables(), 2u);
  tables.unmap(kInput);
  EXPECT_EQ(tables.tables(), 2u);
}

TEST_F(ShadowTablesTest, ASmallPageInThePlaceOfALargeOne) {
  ASSERT_TRUE(tables.map(kInput, 21, kLarge));
  ASSERT_TRUE(tables.map(kInput, 12, kSmall));
  expect_entry(kInput, kSmall, 1);
  expect_entry(kInput + kPage, 0, 1);
  EXPECT_EQ(tables.tables(), 4u);
}

TEST_F(ShadowTablesTest, UnmapTakesOnePage) {
  ASSERT_TRUE(tables.map(kInput, 12, kSmall));
  ASSERT_TRUE(tables.map(kInput + kPage, 12, kSmall + kPage));
  EXPECT_EQ(tables.tables(), 4u);
  tables.unmap(kInput + 0xfff);
  expect_entry(kInput, 0, 1);
  expect_entry(kInput + kPage, kSmall + kPage, 1);
  tables.unmap(0);
  expect_entry(kInput + kPage, kSmall + kPage, 1);
}

TEST_F(ShadowTablesTest, NothingExistsBeforeTheFirstPage) {
  EXPECT_FALSE(tables.has_root());
  EXPECT_EQ(tables.tables(), 0u);
  tables.unmap(kInput);
  tables.clear();
  tables.destroy();
  EXPECT_EQ(pool.used, 0u);
  HostPhysicalAddress first, second;
  ASSERT_TRUE(tables.root(first));
  ASSERT_TRUE(tables.root(second));
  EXPECT_EQ(first, second);
  EXPECT_EQ(tables.tables(), 1u);
}

TEST_F(ShadowTablesTest, ClearKeepsTheRootAndDestroyDoesNot) {
  for (std::uint64_t i = 0; i != 4; ++i) {
    ASSERT_TRUE(tables.map(kInput + (i << 30), 12, kSmall));
  }
  EXPECT_EQ(tables.tables(), pool.used);
  tables.clear();
  EXPECT_TRUE(tables.has_root());
  EXPECT_EQ(tables.tables(), 1u);
  EXPECT_EQ(pool.used, 1u);
  expect_entry(kInput, 0, 4);
  ASSERT_TRUE(tables.map(kInput, 12, kSmall));
  tables.destroy();
  EXPECT_FALSE(tables.has_root());
  EXPECT_EQ(tables.tables(), 0u);
  EXPECT_EQ(pool.used, 0u);
}

/// An empty pool refuses; with pages again, the same call succeeds.
TEST_F(ShadowTablesTest, AnEmptyPoolIsReported) {
  for (std::size_t limit = 0; limit != 4; ++limit) {
    pool.limit = limit;
    EXPECT_FALSE(tables.map(kInput, 12, kSmall)) << limit;
    HostPhysicalAddress root;
    EXPECT_EQ(tables.root(root), limit != 0);
    EXPECT_EQ(tables.has_root(), limit != 0);
    EXPECT_EQ(tables.tables(), limit);
  }
  pool.limit = 4;
  EXPECT_TRUE(tables.map(kInput, 12, kSmall));
  expect_entry(kInput, kSmall, 1);
}

// --- fills

/// All of L1's memory, one page to one, but for pages that are missing or read-only.
struct FlatBacking {
  std::uint8_t page_bits = 12;
  bool write = true, missing = false;
  MemoryType type = MemoryType::kWriteBack;

  bool backing(PhysicalAddress address, bool wants_write, BackingPage& page) const {
    if (missing || (wants_write && !write)) return false;
    page = {HostPhysicalAddress{address.value}, page_bits, write, type};
    return true;
  }
};

class ShadowFill : public ShadowTablesTest {
 protected:
  static constexpr std::uint64_t kGuestPage = 9 * kPage;

  ShadowFill() {
    state.eptp.value = 0x1000 | 3 << 3 | 6;
    for (std::uint64_t level = 4; level > 1; --level) put(level, (6 - level) * kPage | 7);
    put(1, kGuestPage | 0x37);
  }
  /// The entry of `level` on the way to address 0.
  void put(std::uint64_t level, std::uint64_t entry) { guest.write((5 - level) * kPage, entry); }
  Fill fill(EptAccess access) {
    const Fill done =
        fill_shadow_ept(guest, state, machine, tables, GuestPhysicalAddress{0x123}, access);
    if (done.outcome != FillOutcome::kFilled) {
      EXPECT_FALSE(done.newly_dirty);
    }
    if (done.outcome != FillOutcome::kViolation) {
      EXPECT_EQ(done.exit_qualification, 0U);
    }
    if (done.outcome != FillOutcome::kNotBacked) {
      EXPECT_EQ(done.unbacked.value, 0U);
    }
    EXPECT_EQ(done.error_code, 0U);
    return done;
  }
  static EptAccess reading() {
    EptAccess access;
    access.read = true;
    return access;
  }
  static EptAccess writing() {
    EptAccess access;
    access.write = true;
    return access;
  }

  struct GuestMemory {
    using Address = PhysicalAddress;
    std::vector<std::uint64_t> words = std::vector<std::uint64_t>(8 * kPage / 8);

    bool read32(Address, std::uint32_t&) { return false; }
    bool read64(Address address, std::uint64_t& out) {
      if (address.value / 8 >= words.size()) return false;
      out = words[address.value / 8];
      return true;
    }
    Exchange compare_exchange(Address, std::uint32_t, std::uint32_t) {
      return Exchange::kUnreachable;
    }
    Exchange compare_exchange(Address address, std::uint64_t, std::uint64_t desired) {
      words[address.value / 8] = desired;
      return Exchange::kDone;
    }
    void write(std::uint64_t address, std::uint64_t value) { words[address / 8] = value; }
  };

  GuestMemory guest;
  EptState state;
  FlatBacking machine;
};

TEST_F(ShadowFill, MapsWithTheRightsOfBoth) {
  Fill done = fill(reading());
  EXPECT_EQ(done.outcome, FillOutcome::kFilled);
  EXPECT_EQ(done.page_bits, 12);
  EXPECT_FALSE(done.newly_dirty);
  EXPECT_EQ(done.counts.references, 4);
  // With mode-based execute control off, execution is for both modes.
  expect_entry(0, kGuestPage | 0x437, 1);
  for (const std::uint64_t rights : {1U, 4U, 3U, 5U}) {
    put(1, kGuestPage | 0x30 | rights);
    EptAccess access;
    access.read = (rights & 1) != 0;
    access.fetch = (rights & 4) != 0;
    EXPECT_EQ(fill(access).outcome, FillOutcome::kFilled);
    expect_entry(0, kGuestPage | 0x30 | rights | ((rights & 4) != 0 ? 0x400 : 0), 1);
  }
  put(1, kGuestPage | 0x77);  // the memory type of the entry alone counts
  machine.write = false;
  EXPECT_EQ(fill(reading()).outcome, FillOutcome::kFilled);
  expect_entry(0, kGuestPage | 0x475, 1);
}

TEST_F(ShadowFill, MemoryTypes) {
  for (const std::uint64_t guest_type : {0U, 1U, 4U, 5U, 6U}) {
    for (const auto machine_type : {MemoryType::kUncacheable, MemoryType::kWriteBack}) {
      machine.type = machine_type;
      put(1, kGuestPage | 7 | guest_type << 3);
      EXPECT_EQ(fill(reading()).outcome, FillOutcome::kFilled);
      const std::uint64_t type = machine_type == MemoryType::kUncacheable ? 0 : guest_type;
      expect_entry(0, kGuestPage | 0x407 | type << 3, 1);
    }
  }
}

TEST_F(ShadowFill, SizesAreTheSmallerOfBoth) {
  put(2, 0x20'0000 | 0xb7);
  EXPECT_EQ(fill(reading()).page_bits, 12);
  expect_entry(0, 0x20'0000 | 0x437, 1);
  machine.page_bits = 30;
  EXPECT_EQ(fill(reading()).page_bits, 21);
  expect_entry(0, 0x20'0000 | 0x4b7, 2);
  put(3, 0x4000'0000 | 0xb7);
  EXPECT_EQ(fill(reading()).page_bits, 30);
  expect_entry(0, 0x4000'0000 | 0x4b7, 3);
  machine.page_bits = 21;
  EXPECT_EQ(fill(reading()).page_bits, 21);
  expect_entry(0, 0x4000'0000 | 0x4b7, 2);
}

TEST_F(ShadowFill, WritesWaitForTheDirtyFlag) {
  state.eptp.value |= 1U << 6;
  EXPECT_FALSE(fill(reading()).newly_dirty);
  expect_entry(0, kGuestPage | 0x435, 1);
  EXPECT_TRUE(fill(writing()).newly_dirty);
  expect_entry(0, kGuestPage | 0x437, 1);
  EXPECT_FALSE(fill(writing()).newly_dirty);
}

TEST_F(ShadowFill, WhyNothingIsMapped) {
  machine.missing = true;
  Fill done = fill(reading());
  EXPECT_EQ(done.outcome, FillOutcome::kNotBacked);
  EXPECT_EQ(done.unbacked.value, kGuestPage + 0x123);
  machine.missing = false;
  machine.write = false;
  EXPECT_EQ(fill(writing()).outcome, FillOutcome::kNotBacked);
  machine.write = true;
  put(1, kGuestPage | 0x35);
  done = fill(writing());
  EXPECT_EQ(done.outcome, FillOutcome::kViolation);
  EXPECT_EQ(done.exit_qualification, 0x1aaU);
  put(1, kGuestPage | 0x32);
  EXPECT_EQ(fill(reading()).outcome, FillOutcome::kMisconfiguration);
  put(2, 0x100'0000 | 7);
  done = fill(reading());
  EXPECT_EQ(done.outcome, FillOutcome::kNotBacked);
  EXPECT_EQ(done.unbacked.value, 0x100'0000U);
  EXPECT_FALSE(tables.has_root());

  put(2, 4 * kPage | 7);
  put(1, kGuestPage | 0x37);
  pool.limit = 3;
  EXPECT_EQ(fill(reading()).outcome, FillOutcome::kNoTables);
}

// --- fills of shadow page tables

class ShadowPagingFill : public ShadowFill {
 protected:
  using Tables64 = ShadowTables<ShadowPt64Format, Pool>;
  static constexpr std::uint64_t kNoExecute = std::uint64_t{1} << 63;
  Tables64 shadow{pool};
  PagingState paging;

  ShadowPagingFill() {
    paging.mode = PagingMode::k4Level;
    paging.cr3 = 0x1000;
    paging.wp = paging.nxe = true;
    put(1, kGuestPage | 0x67);
  }
  Fill fill(Access access) {
    return fill_shadow_paging(guest, paging, machine, shadow, LinearAddress{0x123}, access);
  }
  /// The entry that maps address 0, which a table of `level` holds.
  std::uint64_t leaf(unsigned level) {
    HostPhysicalAddress root;
    EXPECT_TRUE(shadow.root(root));
    std::uint64_t table = root.value;
    for (unsigned at = 4; at != level; --at) table = memory.word(table) & 0xf'ffff'ffff'f000;
    return memory.word(table);
  }
  void expect_leaf(std::uint64_t entry, unsigned level = 1) { EXPECT_EQ(leaf(level), entry); }
};

TEST_F(ShadowPagingFill, MapsWithTheRightsOfTheGuest) {
  const Fill done = fill({Access::kRead});
  EXPECT_EQ(done.outcome, FillOutcome::kFilled);
  EXPECT_EQ(done.page_bits, 12);
  EXPECT_EQ(done.counts.references, 4);
  expect_leaf(kGuestPage | 0x67);
  put(1, kGuestPage | 0x65);
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x65);
  put(1, kGuestPage | 0x63);
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x63);
  put(1, kGuestPage | 0x67 | kNoExecute);
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x67 | kNoExecute);
  put(1, kGuestPage | 0x67);
  machine.write = false;
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x65);
}

TEST_F(ShadowPagingFill, WritesWaitForTheDirtyFlag) {
  put(1, kGuestPage | 7);
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x65);
  EXPECT_EQ(fill({Access::kWrite}).outcome, FillOutcome::kFilled);
  expect_leaf(kGuestPage | 0x67);
}

/// CR0.WP is 0: a write by the supervisor, and the user's access that follows.
TEST_F(ShadowPagingFill, SupervisorWritesWithoutWriteProtection) {
  paging.wp = false;
  for (const bool smep : {false, true}) {
    paging.smep = smep;
    put(1, kGuestPage | 0x65);
    EXPECT_EQ(fill({Access::kWrite}).outcome, FillOutcome::kFilled);
    expect_leaf(kGuestPage | 0x63 | (smep ? kNoExecute : 0));
    EXPECT_EQ(fill({Access::kRead, true}).outcome, FillOutcome::kFilled);
    expect_leaf(kGuestPage | 0x65);
    put(1, kGuestPage | 0x61);
    EXPECT_EQ(fill({Access::kWrite}).outcome, FillOutcome::kFilled);
    expect_leaf(kGuestPage | 0x63);
  }
}

TEST_F(ShadowPagingFill, CacheControl) {
  for (const std::uint64_t bits : {0x00U, 0x08U, 0x10U, 0x18U}) {
    put(1, kGuestPage | 0x67 | bits);
    machine.type = MemoryType::kWriteBack;
    EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
    expect_leaf(kGuestPage | 0x67 | bits);
    machine.type = MemoryType::kUncacheable;
    EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kFilled);
    expect_leaf(kGuestPage | 0x67 | 0x18);
  }
}

TEST_F(ShadowPagingFill, SizesAreTheSmallerOfBoth) {
  put(2, 0x20'0000 | 0xe7);
  EXPECT_EQ(fill({Access::kRead}).page_bits, 12);
  expect_leaf(0x20'0000 | 0x67);
  machine.page_bits = 21;
  EXPECT_EQ(fill({Access::kRead}).page_bits, 21);
  expect_leaf(0x20'0000 | 0xe7, 2);
  put(3, 0x4000'0000 | 0xe7);
  machine.page_bits = 30;
  EXPECT_EQ(fill({Access::kRead}).page_bits, 21) << "no larger page is made";
  expect_leaf(0x4000'0000 | 0xe7, 2);
}

TEST_F(ShadowPagingFill, WhyNothingIsMapped) {
  machine.missing = true;
  Fill done = fill({Access::kRead});
  EXPECT_EQ(done.outcome, FillOutcome::kNotBacked);
  EXPECT_EQ(done.unbacked.value, kGuestPage + 0x123);
  machine.missing = false;
  machine.write = false;
  EXPECT_EQ(fill({Access::kWrite}).outcome, FillOutcome::kNotBacked);
  put(1, kGuestPage | 0x65);
  done = fill({Access::kWrite, true});
  EXPECT_EQ(done.outcome, FillOutcome::kPageFault);
  EXPECT_EQ(done.error_code, 7U);
  put(1, 0);
  done = fill({Access::kRead});
  EXPECT_EQ(done.outcome, FillOutcome::kPageFault);
  EXPECT_EQ(done.error_code, 0U);
  put(2, 0x100'0000 | 7);
  done = fill({Access::kRead});
  EXPECT_EQ(done.outcome, FillOutcome::kNotBacked);
  EXPECT_EQ(done.unbacked.value, 0x100'0000U);
  EXPECT_FALSE(shadow.has_root());
  put(2, 4 * kPage | 7);
  put(1, kGuestPage | 0x67);
  machine.write = true;
  pool.limit = 3;
  EXPECT_EQ(fill({Access::kRead}).outcome, FillOutcome::kNoTables);
}

}  // namespace
}  // namespace nestor::ept::testing
