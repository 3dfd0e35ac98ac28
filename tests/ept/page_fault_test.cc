// SPDX-License-Identifier: MIT

// Page-fault error codes and access rights of ordinary paging, rule by rule.

#include <gtest/gtest.h>

#include <cstdint>

#include "ept/walk.h"
#include "tests/ept/table_builder.h"

namespace nestor::ept::testing {
namespace {

constexpr LinearAddress kLinear{NestedFixture::kLinear};
constexpr std::uint64_t kExecuteDisable = bit(63);

constexpr Access kUserRead{Access::kRead, true};
constexpr Access kUserWrite{Access::kWrite, true};
constexpr Access kUserFetch{Access::kFetch, true};
constexpr Access kRead{Access::kRead};
constexpr Access kWrite{Access::kWrite};
constexpr Access kFetch{Access::kFetch};
constexpr Access kImplicitRead{Access::kRead, true, true};
constexpr Access kImplicitWrite{Access::kWrite, true, true};

/// The walk's error code, or -1 if it translates.
int fault(NestedFixture& f, Access access) {
  const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, access);
  EXPECT_NE(walk.outcome, LinearOutcome::kUnreachable);
  return walk.translated() ? -1 : static_cast<int>(walk.error_code);
}
constexpr int kAllowed = -1;

void change(NestedFixture& f, unsigned level, std::uint64_t clear, std::uint64_t set) {
  const std::uint64_t entry = f.tables.get(f.guest[level], f.index_bits);
  f.tables.put(f.guest[level], (entry & ~clear) | set, f.index_bits);
}

TEST(PageFault, NotPresentAtEveryLevel) {
  for (unsigned level = 1; level <= 4; ++level) {
    NestedFixture f;
    // Reserved bits of an entry that is not present do not count.
    f.paging.maxphyaddr = 40;
    change(f, level, 1, bit(45) | kExecuteDisable);
    EXPECT_EQ(fault(f, kRead), 0x0);
    EXPECT_EQ(fault(f, kWrite), 0x2);
    EXPECT_EQ(fault(f, kUserRead), 0x4);
    EXPECT_EQ(fault(f, kUserWrite), 0x6);
    EXPECT_EQ(fault(f, kUserFetch), 0x14);
  }
}

TEST(PageFault, UserAccessNeedsUserInEveryEntry) {
  for (unsigned level = 1; level <= 4; ++level) {
    NestedFixture f;
    change(f, level, bit(2), 0);
    EXPECT_EQ(fault(f, kUserRead), 0x5);
    EXPECT_EQ(fault(f, kUserWrite), 0x7);
    EXPECT_EQ(fault(f, kUserFetch), 0x15);
    EXPECT_EQ(fault(f, kRead), kAllowed);
    EXPECT_EQ(fault(f, kImplicitRead), kAllowed);
  }
}

TEST(PageFault, WriteProtection) {
  for (unsigned level = 1; level <= 4; ++level) {
    for (const bool wp : {false, true}) {
      NestedFixture f;
      f.paging.wp = wp;
      change(f, level, bit(1), 0);
      EXPECT_EQ(fault(f, kUserWrite), 0x7);
      EXPECT_EQ(fault(f, kWrite), wp ? 0x3 : kAllowed);
      EXPECT_EQ(fault(f, kImplicitWrite), wp ? 0x3 : kAllowed);
      EXPECT_EQ(fault(f, kUserRead), kAllowed);
    }
  }
}

TEST(PageFault, ExecuteDisable) {
  for (unsigned level = 1; level <= 4; ++level) {
    NestedFixture f;
    change(f, level, 0, kExecuteDisable);
    EXPECT_EQ(fault(f, kFetch), 0x11);
    EXPECT_EQ(fault(f, kUserFetch), 0x15);
    EXPECT_EQ(fault(f, kUserWrite), kAllowed);
    f.paging.nxe = false;  // the bit is reserved then, for every access
    EXPECT_EQ(fault(f, kRead), 0x9);
    EXPECT_EQ(fault(f, kUserFetch), 0xd);
    f.paging.smep = true;  // the fetch is reported again
    EXPECT_EQ(fault(f, kUserFetch), 0x1d);
  }
}

TEST(PageFault, FetchIsReportedOnlyWhereItCanBeForbidden) {
  NestedFixture f(PagingMode::k32Bit);
  change(f, 1, 1, 0);
  EXPECT_EQ(fault(f, kFetch), 0x0);  // IA32_EFER.NXE has no meaning without PAE
  f.paging.smep = true;
  EXPECT_EQ(fault(f, kFetch), 0x10);
}

TEST(PageFault, Smep) {
  NestedFixture f;
  f.paging.smep = true;
  EXPECT_EQ(fault(f, kFetch), 0x11);
  EXPECT_EQ(fault(f, kUserFetch), kAllowed);
  EXPECT_EQ(fault(f, kRead), kAllowed);
  change(f, 3, bit(2), 0);  // one supervisor entry makes a supervisor-mode address
  EXPECT_EQ(fault(f, kFetch), kAllowed);
}

TEST(PageFault, Smap) {
  NestedFixture f;
  f.paging.smap = true;
  EXPECT_EQ(fault(f, kRead), 0x1);
  EXPECT_EQ(fault(f, kWrite), 0x3);
  EXPECT_EQ(fault(f, kFetch), kAllowed);
  EXPECT_EQ(fault(f, kUserRead), kAllowed);
  EXPECT_EQ(fault(f, kImplicitRead), 0x1);
  f.paging.ac = true;
  EXPECT_EQ(fault(f, kRead), kAllowed);
  EXPECT_EQ(fault(f, kWrite), kAllowed);
  EXPECT_EQ(fault(f, kImplicitRead), 0x1);
  EXPECT_EQ(fault(f, kImplicitWrite), 0x3);
  f.paging.ac = false;
  change(f, 2, bit(2), 0);
  EXPECT_EQ(fault(f, kRead), kAllowed);
  EXPECT_EQ(fault(f, kImplicitRead), kAllowed);
}

TEST(PageFault, ProtectionKeysOfUserPages) {
  for (unsigned key = 0; key != 16; ++key) {
    NestedFixture f;
    change(f, 1, 0, std::uint64_t{key} << 59);
    f.paging.pke = true;
    f.paging.pkru = 1U << (2 * key);  // access disable
    EXPECT_EQ(fault(f, kUserRead), 0x25);
    EXPECT_EQ(fault(f, kUserWrite), 0x27);
    EXPECT_EQ(fault(f, kUserFetch), kAllowed);
    EXPECT_EQ(fault(f, kRead), 0x21);
    f.paging.pkru = 2U << (2 * key);  // write disable
    EXPECT_EQ(fault(f, kUserRead), kAllowed);
    EXPECT_EQ(fault(f, kUserWrite), 0x27);
    EXPECT_EQ(fault(f, kWrite), 0x23);
    f.paging.wp = false;
    EXPECT_EQ(fault(f, kWrite), kAllowed);
    EXPECT_EQ(fault(f, kImplicitWrite), kAllowed);
    EXPECT_EQ(fault(f, kUserWrite), 0x27);
    f.paging.pke = false;
    EXPECT_EQ(fault(f, kUserWrite), kAllowed);
  }
}

TEST(PageFault, ProtectionKeysOfSupervisorPages) {
  NestedFixture f;
  change(f, 1, bit(2), std::uint64_t{5} << 59);
  f.paging.pks = true;
  f.paging.pkru = ~0U;
  f.paging.pkrs = 1U << 10;
  EXPECT_EQ(fault(f, kRead), 0x21);
  EXPECT_EQ(fault(f, kFetch), kAllowed);
  f.paging.pkrs = 2U << 10;
  EXPECT_EQ(fault(f, kRead), kAllowed);
  EXPECT_EQ(fault(f, kWrite), 0x23);
  f.paging.wp = false;
  EXPECT_EQ(fault(f, kWrite), kAllowed);
}

TEST(PageFault, ProtectionKeysNeedFourLevels) {
  for (const PagingMode mode : {PagingMode::k32Bit, PagingMode::kPae}) {
    NestedFixture f(mode);
    f.paging.pke = true;
    f.paging.pkru = ~0U;
    EXPECT_EQ(fault(f, kUserWrite), kAllowed);
  }
}

/// One format's reserved bits, position by position, in the entry of `level`.
template <class IsReserved>
void sweep_reserved(PagingMode mode, unsigned page_level, unsigned level, bool nxe,
                    unsigned maxphyaddr, unsigned entry_bits, const IsReserved& is_reserved) {
  for (unsigned position = 7; position != entry_bits; ++position) {
    const bool page = level == page_level;
    const bool reserved = is_reserved(position);
    const bool size_bit = position == 7 && level > 1;
    if (size_bit && (page || !reserved)) continue;
    if (!reserved && !page && position >= 12 && position < 52) continue;  // leads elsewhere
    NestedFixture f(mode, page_level);
    f.paging.maxphyaddr = static_cast<std::uint8_t>(maxphyaddr);
    f.paging.nxe = nxe;
    change(f, level, 0, bit(position));
    EXPECT_EQ(fault(f, kUserRead), reserved ? 0xd : kAllowed)
        << "page level " << page_level << " level " << level << " bit " << position << " nxe "
        << nxe << " maxphyaddr " << maxphyaddr;
  }
}

TEST(ReservedBits, FourAndFiveLevels) {
  for (const unsigned levels : {4U, 5U}) {
    const PagingMode mode = levels == 4 ? PagingMode::k4Level : PagingMode::k5Level;
    for (const unsigned maxphyaddr : {36U, 46U, 52U}) {
      for (unsigned page_level = 1; page_level <= 3; ++page_level) {
        for (unsigned level = page_level; level <= levels; ++level) {
          for (const bool nxe : {false, true}) {
            sweep_reserved(mode, page_level, level, nxe, maxphyaddr, 64, [&](unsigned position) {
              if (position == 63) return !nxe;
              if (position == 7) return level >= 4;
              if (position >= maxphyaddr && position <= 51) return true;
              return level == page_level && position >= 13 && position < 12 + 9 * (level - 1);
            });
          }
        }
      }
    }
  }
}

TEST(ReservedBits, Pae) {
  for (const unsigned maxphyaddr : {36U, 46U, 52U}) {
    for (unsigned page_level = 1; page_level <= 2; ++page_level) {
      for (unsigned level = page_level; level <= 2; ++level) {
        for (const bool nxe : {false, true}) {
          sweep_reserved(PagingMode::kPae, page_level, level, nxe, maxphyaddr, 64,
                         [&](unsigned position) {
                           if (position == 63) return !nxe;
                           if (position >= maxphyaddr) return true;
                           return level == 2 && page_level == 2 && position >= 13 && position <= 20;
                         });
        }
      }
    }
  }
}

TEST(ReservedBits, Bits32) {
  for (const unsigned maxphyaddr : {32U, 36U, 39U, 40U, 52U}) {
    for (unsigned page_level = 1; page_level <= 2; ++page_level) {
      for (unsigned level = page_level; level <= 2; ++level) {
        sweep_reserved(PagingMode::k32Bit, page_level, level, true, maxphyaddr, 32,
                       [&](unsigned position) {
                         if (level != 2 || page_level != 2) return false;
                         if (position == 21) return true;
                         // Bits 20:13 are bits 39:32 of the address.
                         return position >= 13 && position <= 20 && position + 19 >= maxphyaddr;
                       });
      }
    }
  }
}

TEST(Bits32, LargePagesReach40Bits) {
  NestedFixture f(PagingMode::k32Bit, 2);
  change(f, 2, 0, bit(20) | bit(13));
  const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, kRead);
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(walk.address.value, 0x81'8000'1000U);
  EXPECT_EQ(walk.page_bits, 22U);
  f.paging.pse36 = false;
  EXPECT_EQ(fault(f, kRead), 0x9);
}

TEST(Bits32, PageSizeIsIgnoredWithoutPse) {
  NestedFixture f(PagingMode::k32Bit);
  f.paging.pse = false;
  change(f, 2, 0, bit(7));
  EXPECT_EQ(fault(f, kRead), kAllowed);
  EXPECT_EQ(walk_linear(f.tables.memory, f.paging, kLinear, kRead).page_bits, 12U);
}

TEST(FourLevels, OneGigabytePagesNeedTheCapability) {
  NestedFixture f(PagingMode::k4Level, 3);
  EXPECT_EQ(fault(f, kRead), kAllowed);
  f.paging.page1gb = false;
  EXPECT_EQ(fault(f, kRead), 0x9);
}

TEST(Pae, PdptesComeFromTheRegisters) {
  NestedFixture f(PagingMode::kPae);
  EXPECT_EQ(fault(f, kUserWrite), kAllowed);
  f.paging.cr3 = ~std::uint64_t{0};  // not used by a walk
  EXPECT_EQ(fault(f, kUserWrite), kAllowed);
  f.paging.pdptes[1] &= ~std::uint64_t{1};
  const auto walk = walk_linear(f.tables.memory, f.paging, kLinear, kUserWrite);
  EXPECT_EQ(walk.error_code, 0x6U);
  EXPECT_EQ(walk.counts.references, 0U);
}

TEST(Pae, PdpteCheckNamesEachReservedBit) {
  for (unsigned position = 1; position != 64; ++position) {
    const bool reserved =
        (position >= 1 && position <= 2) || (position >= 5 && position <= 8) || position >= 40;
    for (unsigned i = 0; i != 4; ++i) {
      std::array<std::uint64_t, 4> pdptes{};
      pdptes[i] = bit(position) | 1;
      EXPECT_EQ(pdptes_are_valid(pdptes, 40), !reserved) << position;
      pdptes[i] = bit(position);  // not present: anything may stand there
      EXPECT_TRUE(pdptes_are_valid(pdptes, 40)) << position;
    }
  }
}

TEST(PagingOff, EveryAccessIsAllowed) {
  NestedFixture f(PagingMode::kNone);
  f.paging.smep = f.paging.smap = true;
  for (const Access access : {kRead, kWrite, kFetch, kUserRead, kUserWrite, kUserFetch}) {
    const auto walk = walk_linear(f.tables.memory, f.paging, LinearAddress{0x1'2345'6789}, access);
    ASSERT_TRUE(walk.translated());
    EXPECT_EQ(walk.address.value, 0x2345'6789U);
    EXPECT_EQ(walk.counts.references, 0U);
    EXPECT_TRUE(walk.dirty);
  }
}

TEST(PagingModes, FollowTheControlBits) {
  EXPECT_EQ(paging_mode(false, true, true, true), PagingMode::kNone);
  EXPECT_EQ(paging_mode(true, false, false, false), PagingMode::k32Bit);
  EXPECT_EQ(paging_mode(true, true, false, false), PagingMode::kPae);
  EXPECT_EQ(paging_mode(true, true, true, false), PagingMode::k4Level);
  EXPECT_EQ(paging_mode(true, true, true, true), PagingMode::k5Level);
}

TEST(PatIndex, ComesFromTheEntryThatMapsThePage) {
  struct Case {
    PagingMode mode;
    unsigned page_level;
    unsigned pat_bit;
  };
  constexpr Case kCases[] = {{PagingMode::k32Bit, 1, 7},  {PagingMode::k32Bit, 2, 12},
                             {PagingMode::kPae, 1, 7},    {PagingMode::kPae, 2, 12},
                             {PagingMode::k4Level, 1, 7}, {PagingMode::k4Level, 2, 12},
                             {PagingMode::k4Level, 3, 12}};
  for (const Case& c : kCases) {
    for (std::uint64_t index = 0; index != 8; ++index) {
      NestedFixture f(c.mode, c.page_level);
      change(f, c.page_level, 0, (index & 3) << 3 | (index >> 2) << c.pat_bit);
      EXPECT_EQ(walk_linear(f.tables.memory, f.paging, kLinear, kRead).pat_index, index);
    }
  }
}

}  // namespace
}  // namespace nestor::ept::testing
