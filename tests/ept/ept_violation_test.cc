// SPDX-License-Identifier: MIT

// EPT violations and misconfigurations, each rule by itself at every level. Vocabulary: allowed,
// violation with this qualification, misconfiguration, ignored bit.

#include <gtest/gtest.h>

#include <cstdint>

#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

constexpr std::uint64_t kGpa = NestedFixture::kGuestPage;

EptAccess access_of(unsigned read_write_fetch, EptPurpose purpose = EptPurpose::kLinear) {
  EptAccess access;
  access.read = (read_write_fetch & 1) != 0;
  access.write = (read_write_fetch & 2) != 0;
  access.fetch = (read_write_fetch & 4) != 0;
  access.purpose = purpose;
  return access;
}

/// A mapping of `kGpa` by a page of `page_level`, one of whose entries can be changed.
class Mapping {
 public:
  explicit Mapping(unsigned page_level, unsigned levels = 4) : levels_(levels) {
    state.eptp.value = tables_.take_page() | (levels - 1) << 3 | 6;
    chain_ = tables_.map(state.eptp.root(), levels, page_level, kGpa, NestedFixture::kHostPage, 7,
                         7 | NestedFixture::kWriteBack);
  }

  EptWalk<PhysicalAddress> walk(EptAccess access, std::uint64_t gpa = kGpa) {
    return walk_ept(tables_.memory, state, GuestPhysicalAddress{gpa}, access);
  }
  std::uint64_t entry(unsigned level) { return tables_.get(chain_[level]); }
  void set_entry(unsigned level, std::uint64_t value) { tables_.put(chain_[level], value); }
  void set_rights(unsigned level, std::uint64_t rights) {
    set_entry(level, (entry(level) & ~std::uint64_t{0x407}) | rights);
  }
  unsigned levels() const { return levels_; }

  EptState state;

 private:
  TableBuilder tables_;
  TableBuilder::Chain chain_{};
  unsigned levels_;
};

TEST(EptViolation, EveryAccessAgainstEveryRightAtEveryLevel) {
  unsigned violations = 0;
  for (unsigned levels = 4; levels <= 5; ++levels) {
    for (unsigned page_level = 1; page_level <= 3; ++page_level) {
      for (unsigned level = page_level; level <= levels; ++level) {
        for (unsigned rights_and_kind = 0; rights_and_kind != 64; ++rights_and_kind) {
          const std::uint64_t rights = rights_and_kind / 8;
          const unsigned kind = rights_and_kind % 8;
          if (kind == 0) continue;
          Mapping m(page_level, levels);
          m.set_rights(level, rights);
          const auto walk = m.walk(access_of(kind));
          SCOPED_TRACE(::testing::Message()
                       << levels << " levels, page level " << page_level << " level " << level
                       << " rights " << rights << " access " << kind);
          if (rights == 2 || rights == 6) {  // writes without reads
            EXPECT_EQ(walk.outcome, EptOutcome::kMisconfiguration);
            EXPECT_EQ(walk.exit_qualification, 0U);
          } else if ((rights & kind) == kind) {
            EXPECT_EQ(walk.outcome, EptOutcome::kTranslated);
            EXPECT_EQ(walk.address.value, NestedFixture::kHostPage);
          } else {
            EXPECT_EQ(walk.outcome, EptOutcome::kViolation);
            // The entries of the other levels allow everything.
            EXPECT_EQ(walk.exit_qualification, 0x180 | rights << 3 | kind);
            ++violations;
          }
        }
      }
    }
  }
  EXPECT_GT(violations, 500U);
}

TEST(EptViolation, QualificationHoldsTheAndOverAllEntries) {
  Mapping m(1);
  m.set_rights(4, 3);
  m.set_rights(2, 5);
  EXPECT_EQ(m.walk(access_of(2)).exit_qualification, 0x18aU);
  m.set_rights(3, 0);  // not present: bits 5:3 are 0
  EXPECT_EQ(m.walk(access_of(2)).exit_qualification, 0x182U);
}

TEST(EptViolation, PurposeDecidesTheLinearBits) {
  Mapping m(1);
  m.set_rights(1, 0);
  EXPECT_EQ(m.walk(access_of(1, EptPurpose::kLinear)).exit_qualification, 0x181U);
  EXPECT_EQ(m.walk(access_of(1, EptPurpose::kPagingEntry)).exit_qualification, 0x81U);
  EXPECT_EQ(m.walk(access_of(1, EptPurpose::kPdpteLoad)).exit_qualification, 0x1U);
}

TEST(EptViolation, PagingEntryAccessIsAWriteOnceFlagsAreEnabled) {
  Mapping m(1);
  m.set_rights(1, 1);
  EXPECT_TRUE(m.walk(access_of(1, EptPurpose::kPagingEntry)).translated());
  m.state.eptp.value |= NestedFixture::kFlagsEnabled;
  EXPECT_EQ(m.walk(access_of(1, EptPurpose::kPagingEntry)).exit_qualification, 0x8bU);
  // Not so a load of the PDPTEs, nor an access to the translation of a linear address.
  EXPECT_TRUE(m.walk(access_of(1, EptPurpose::kPdpteLoad)).translated());
  EXPECT_TRUE(m.walk(access_of(1, EptPurpose::kLinear)).translated());
}

TEST(EptViolation, AdvancedInformationDescribesTheLinearAddress) {
  for (unsigned bits = 0; bits != 8; ++bits) {
    Mapping m(1);
    m.set_rights(1, 0);
    m.state.advanced_exit_information = true;
    EptAccess access = access_of(1);
    access.linear_user = (bits & 1) != 0;
    access.linear_writable = (bits & 2) != 0;
    access.linear_execute_disable = (bits & 4) != 0;
    EXPECT_EQ(m.walk(access).exit_qualification, 0x181U | bits << 9);
    access.purpose = EptPurpose::kPagingEntry;
    EXPECT_EQ(m.walk(access).exit_qualification, 0x81U);
    m.state.advanced_exit_information = false;
    access.purpose = EptPurpose::kLinear;
    EXPECT_EQ(m.walk(access).exit_qualification, 0x181U);
  }
}

/// "If CR0.PG = 0, the translation of every linear address is a user-mode linear address",
/// read/write and executable.
TEST(EptViolation, AdvancedInformationWithPagingOff) {
  Mapping m(1);
  m.set_rights(1, 0);
  m.state.advanced_exit_information = true;
  EptAccess access;
  access.read = true;
  EXPECT_EQ(m.walk(access).exit_qualification, 0x781U);
  EXPECT_EQ(m.walk(final_access({Access::kWrite}, {})).exit_qualification, 0x782U);
}

TEST(EptViolation, AddressBeyondFourLevels) {
  Mapping four(1);
  for (unsigned position = 48; position != 52; ++position) {
    const auto walk = four.walk(access_of(1), kGpa | bit(position));
    EXPECT_EQ(walk.outcome, EptOutcome::kViolation);
    EXPECT_EQ(walk.exit_qualification, 0x181U);
    EXPECT_EQ(walk.counts.references, 0U);
  }
  Mapping five(1, 5);
  EXPECT_TRUE(five.walk(access_of(1)).translated());
  EXPECT_EQ(five.walk(access_of(1), kGpa | bit(48)).counts.references, 1U);
}

TEST(ModeBasedExecute, FetchesAskForTheRightOfTheirMode) {
  for (unsigned level = 1; level <= 5; ++level) {
    for (unsigned execute = 0; execute != 4; ++execute) {
      for (const bool user : {false, true}) {
        Mapping m(1, 5);
        for (unsigned other = 1; other <= 5; ++other) m.set_rights(other, 0x407);
        m.set_rights(level, 3 | (execute & 1 ? 4 : 0) | (execute & 2 ? 0x400 : 0));
        m.state.mode_based_execute = true;
        EptAccess access = access_of(4);
        access.linear_user = user;
        const auto walk = m.walk(access);
        const bool allowed = (user ? execute & 2 : execute & 1) != 0;
        EXPECT_EQ(walk.translated(), allowed);
        if (!allowed) {
          EXPECT_EQ(walk.exit_qualification, 0x19c | execute << 5);
        } else {
          EXPECT_EQ(walk.rights.execute, (execute & 1) != 0);
          EXPECT_EQ(walk.rights.execute_user, (execute & 2) != 0);
        }
      }
    }
  }
}

TEST(ModeBasedExecute, UserExecuteAloneMakesAnEntryPresent) {
  Mapping m(1);
  m.set_rights(1, 0x400);
  EXPECT_EQ(m.walk(access_of(1)).outcome, EptOutcome::kViolation);
  EXPECT_EQ(m.walk(access_of(1)).exit_qualification, 0x181U);
  m.state.mode_based_execute = true;
  for (unsigned level = 2; level <= 4; ++level) m.set_rights(level, 0x407);
  EXPECT_EQ(m.walk(access_of(1)).exit_qualification, 0x1c1U);
  EXPECT_TRUE(m.walk(access_of(4)).translated());
  m.state.execute_only = false;
  EXPECT_EQ(m.walk(access_of(4)).outcome, EptOutcome::kMisconfiguration);
}

TEST(ModeBasedExecute, UserExecuteIsIgnoredWithoutTheControl) {
  Mapping m(1);
  m.set_rights(1, 0x401);
  EXPECT_EQ(m.walk(access_of(4)).exit_qualification, 0x18cU);
}

TEST(ModeBasedExecute, TheModeIsTheLinearAddresssNotTheProcessors) {
  for (const bool user_page : {false, true}) {
    NestedFixture f;
    f.ept.mode_based_execute = true;
    // EPT leaves only fetches from supervisor-mode linear addresses.
    f.tables.put(f.guest[1], f.tables.get(f.guest[1]) & ~(user_page ? 0 : bit(2)));
    const auto walk = walk_nested(f.tables.memory, f.paging, f.ept,
                                  LinearAddress{NestedFixture::kLinear}, {Access::kFetch, false});
    EXPECT_EQ(walk.translated(), !user_page);
    if (user_page) {
      EXPECT_EQ(walk.exit_qualification, 0x1bcU);
    }
  }
}

// --- Misconfigurations ---------------------------------------------------------------------------

TEST(EptMisconfiguration, ExecuteOnlyWithoutTheCapability) {
  for (unsigned page_level = 1; page_level <= 3; ++page_level) {
    for (unsigned level = page_level; level <= 5; ++level) {
      Mapping m(page_level, level == 5 ? 5 : 4);
      m.set_rights(level, 4);
      EXPECT_TRUE(m.walk(access_of(4)).translated());
      m.state.execute_only = false;
      EXPECT_EQ(m.walk(access_of(4)).outcome, EptOutcome::kMisconfiguration);
      EXPECT_EQ(m.walk(access_of(1)).outcome, EptOutcome::kMisconfiguration);
    }
  }
}

TEST(EptMisconfiguration, MemoryTypes) {
  for (unsigned page_level = 1; page_level <= 3; ++page_level) {
    for (std::uint64_t type = 0; type != 8; ++type) {
      Mapping m(page_level);
      m.set_entry(page_level, (m.entry(page_level) & ~std::uint64_t{0x38}) | type << 3);
      const auto walk = m.walk(access_of(1));
      if (type == 2 || type == 3 || type == 7) {
        EXPECT_EQ(walk.outcome, EptOutcome::kMisconfiguration) << type;
      } else {
        EXPECT_EQ(walk.outcome, EptOutcome::kTranslated) << type;
        EXPECT_EQ(static_cast<std::uint64_t>(walk.memory_type), type);
      }
    }
  }
}

/// For each entry of a mapping by a page of `page_level`: which bits make it a misconfiguration.
bool is_reserved(unsigned page_level, unsigned level, unsigned position, unsigned maxphyaddr) {
  if (position >= maxphyaddr && position <= 51) return true;
  if (level > page_level) {
    return level >= 4 ? position >= 3 && position <= 7 : position >= 3 && position <= 6;
  }
  return position >= 12 && position < 12 + 9 * (page_level - 1);
}

TEST(EptMisconfiguration, EveryBitOfEveryEntryIsReservedOrNot) {
  for (const unsigned maxphyaddr : {36U, 39U, 46U, 52U}) {
    for (unsigned levels = 4; levels <= 5; ++levels) {
      for (unsigned page_level = 1; page_level <= 3; ++page_level) {
        for (unsigned level = page_level; level <= levels; ++level) {
          for (unsigned position = 3; position != 64; ++position) {
            // Address bits lead elsewhere, and bits 5:3 and 7 of a page have meanings of their own.
            const bool page = level == page_level;
            const bool address_bit = position >= 12 && position < maxphyaddr;
            const bool reserved = is_reserved(page_level, level, position, maxphyaddr);
            if (address_bit && !reserved) continue;
            if (page && (position < 6 || (position == 7 && level > 1))) continue;
            if (!page && position == 7 && level <= 3) continue;
            Mapping m(page_level, levels);
            m.state.maxphyaddr = static_cast<std::uint8_t>(maxphyaddr);
            m.set_entry(level, m.entry(level) ^ bit(position));
            EXPECT_EQ(m.walk(access_of(1)).outcome,
                      reserved ? EptOutcome::kMisconfiguration : EptOutcome::kTranslated)
                << "levels " << levels << " page level " << page_level << " level " << level
                << " bit " << position << " maxphyaddr " << maxphyaddr;
          }
        }
      }
    }
  }
}

TEST(EptMisconfiguration, PageSizeThatTheProcessorDoesNotHave) {
  Mapping large(2);
  large.state.page2mb = false;
  EXPECT_EQ(large.walk(access_of(1)).outcome, EptOutcome::kMisconfiguration);
  Mapping huge(3);
  huge.state.page1gb = false;
  EXPECT_EQ(huge.walk(access_of(1)).outcome, EptOutcome::kMisconfiguration);
}

TEST(EptMisconfiguration, AnEntryThatIsNotPresentIsNeverMisconfigured) {
  for (unsigned level = 1; level <= 5; ++level) {
    Mapping m(1, 5);
    m.set_entry(level, ~std::uint64_t{7} & ~bit(10));
    EXPECT_EQ(m.walk(access_of(1)).outcome, EptOutcome::kViolation);
  }
}

/// A misconfiguration further down comes before a permission that is missing further up.
TEST(EptMisconfiguration, ComesBeforeTheViolation) {
  Mapping m(1);
  m.set_rights(4, 1);
  m.set_rights(1, 2);
  EXPECT_EQ(m.walk(access_of(2)).outcome, EptOutcome::kMisconfiguration);
}

// --- In two dimensions ---------------------------------------------------------------------------

NestedWalk<PhysicalAddress> walk_fixture(NestedFixture& f, Access access) {
  return walk_nested(f.tables.memory, f.paging, f.ept, LinearAddress{NestedFixture::kLinear},
                     access);
}

TEST(NestedViolation, NamesTheGuestEntryThatEptRefused) {
  for (unsigned level = 1; level <= 4; ++level) {
    for (const bool flags : {false, true}) {
      NestedFixture f;
      if (flags) f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
      f.tables.put(f.guest_tables_ept[level][1], 0);
      const auto walk = walk_fixture(f, {Access::kWrite});
      EXPECT_EQ(walk.outcome, NestedOutcome::kEptViolation);
      EXPECT_EQ(walk.guest_physical.value, f.guest[level]);
      EXPECT_FALSE(walk.linear_translated);
      EXPECT_EQ(walk.exit_qualification, flags ? 0x83U : 0x81U);
    }
  }
}

TEST(NestedViolation, MisconfigurationUnderAGuestEntry) {
  NestedFixture f;
  f.tables.put(f.guest_tables_ept[2][1], 2);
  const auto walk = walk_fixture(f, {});
  EXPECT_EQ(walk.outcome, NestedOutcome::kEptMisconfiguration);
  EXPECT_EQ(walk.guest_physical.value, f.guest[2]);
  EXPECT_EQ(walk.exit_qualification, 0U);
}

/// The accessed and dirty flags of a guest entry are writes to its page.
TEST(NestedViolation, GuestFlagsInAReadOnlyPage) {
  struct Case {
    std::uint64_t flags;
    Access::Kind kind;
    bool needs_update;
  };
  constexpr Case kCases[] = {
      {0, Access::kRead, true},     {0, Access::kWrite, true},     {0, Access::kFetch, true},
      {0x20, Access::kRead, false}, {0x20, Access::kWrite, true},  {0x20, Access::kFetch, false},
      {0x60, Access::kRead, false}, {0x60, Access::kWrite, false}, {0x60, Access::kFetch, false}};
  for (const Case& c : kCases) {
    for (const std::uint64_t rights : {1U, 5U}) {
      for (const bool flags : {false, true}) {
        NestedFixture f;
        if (flags) f.ept.eptp.value |= NestedFixture::kFlagsEnabled;
        f.tables.put(f.guest[1], f.tables.get(f.guest[1]) | c.flags);
        const std::uint64_t epte = f.guest_tables_ept[1][1];
        f.tables.put(epte, (f.tables.get(epte) & ~std::uint64_t{7}) | rights);
        const auto walk = walk_fixture(f, {c.kind});
        if (flags || c.needs_update) {
          EXPECT_EQ(walk.outcome, NestedOutcome::kEptViolation);
          EXPECT_EQ(walk.guest_physical.value, f.guest[1]);
          EXPECT_EQ(walk.exit_qualification, 0x83 | rights << 3);
          EXPECT_EQ(f.tables.get(f.guest[1]) & 0x60, c.flags);
        } else {
          EXPECT_EQ(walk.outcome, NestedOutcome::kTranslated);
        }
      }
    }
  }
}

TEST(NestedViolation, AGuestPageFaultComesFirst) {
  NestedFixture f;
  f.tables.put(f.guest[1], f.tables.get(f.guest[1]) & ~bit(1));
  f.tables.put(f.final_ept[1], 0);
  const auto walk = walk_fixture(f, {Access::kWrite});
  EXPECT_EQ(walk.outcome, NestedOutcome::kPageFault);
  EXPECT_EQ(walk.error_code, 3U);
}

TEST(NestedViolation, NamesTheTranslationOfTheLinearAddress) {
  NestedFixture f;
  f.tables.put(f.final_ept[1], f.tables.get(f.final_ept[1]) & ~bit(1));
  const auto walk = walk_fixture(f, {Access::kWrite});
  EXPECT_EQ(walk.outcome, NestedOutcome::kEptViolation);
  EXPECT_TRUE(walk.linear_translated);
  EXPECT_EQ(walk.guest_physical.value, NestedFixture::kGuestPage);
  EXPECT_EQ(walk.exit_qualification, 0x1aaU);
}

}  // namespace
}  // namespace nestor::ept::testing
