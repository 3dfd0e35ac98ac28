// SPDX-License-Identifier: GPL-2.0-or-later
//
// The model of the processor's caches in front of the walker: what stays, what goes, and that
// whoever invalidates as the manual asks never sees anything but the tables.
#include "emu/cpu/translation_caches.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>

#include "tests/ept/table_builder.h"

namespace nestor::emu {
namespace {

using ept::Access;
using ept::bit;
using Outcome = ept::NestedOutcome;

constexpr uint64_t kPage = 4096;

// Four pages in one guest page table and two in another; eight guest-physical pages behind them.
class TranslationCachesTest : public ::testing::Test, protected ept::testing::NestedFixture {
 protected:
  using Kind = ept::Invalidation::Kind;
  static constexpr std::array<uint64_t, 6> kLinears = {kLinear,
                                                       kLinear + kPage,
                                                       kLinear + 2 * kPage,
                                                       kLinear + 3 * kPage,
                                                       kLinear + (2 << 20),
                                                       kLinear + (2 << 20) + kPage};
  static constexpr unsigned kGuestPages = 8;
  static constexpr uint64_t kTableFlags = 7;
  static constexpr Access kRead{Access::kRead}, kWrite{Access::kWrite};

  TranslationCachesTest() {
    for (size_t i = 0; i < kLinears.size(); ++i) {
      guest_[i] = tables.map(paging.cr3, 4, 1, kLinears[i], kGuestPage + i * kPage, kAll, kAll);
      const uint64_t table = guest_[i][1] & ~(kPage - 1);
      tables.map(ept.eptp.root(), 4, 1, table, table, kAll, kAll | kWriteBack);
    }
    for (unsigned i = 0; i < kGuestPages; ++i) {
      ept_[i] = tables.map(ept.eptp.root(), 4, 1, kGuestPage + i * kPage, kHostPage + i * kPage,
                           kAll, kAll | kWriteBack);
    }
    tag_.kind = ept::MappingKind::kCombined;
    tag_.ept_root = ept.eptp.root();
  }

  ept::NestedWalk<ept::PhysicalAddress> fresh(uint64_t linear, Access access) {
    return ept::walk_nested<ept::ProbeOnly>(tables.memory, paging, ept, ept::LinearAddress{linear},
                                            access);
  }
  // As a processor translates.
  ept::NestedWalk<ept::PhysicalAddress> translate(uint64_t linear, Access access = kRead) {
    if (const auto* found = caches_->find(tag_, linear, access, paging, &ept)) {
      ept::NestedWalk<ept::PhysicalAddress> hit;
      hit.outcome = Outcome::kTranslated;
      hit.address.value = found->output | found->offset(linear);
      return hit;
    }
    const auto walk = caches_->walk(tables.memory, tag_, linear, true, [&](auto& seen) {
      return ept::walk_nested(seen, paging, ept, ept::LinearAddress{linear}, access);
    });
    if (walk.translated()) caches_->keep(tag_, linear, walk, walk.global);
    return walk;
  }
  uint64_t seen(uint64_t linear) { return translate(linear).address.value; }
  void invalidate(Kind kind, uint64_t linear = 0) {
    ept::Invalidation what;
    what.kind = kind;
    what.vpid = tag_.vpid;
    what.pcid = tag_.pcid;
    what.linear = linear;
    what.eptp = ept.eptp.value;
    caches_->invalidate(what);
  }
  void set_guest_page(size_t linear, unsigned page, uint64_t flags = 7) {
    tables.put(guest_[linear][1], (kGuestPage + page * kPage) | flags);
  }
  void set_ept_page(unsigned page, uint64_t host, uint64_t flags = 7) {
    tables.put(ept_[page][1], host | flags | kWriteBack);
  }

  std::unique_ptr<TranslationCaches> caches_ = std::make_unique<TranslationCaches>();
  ept::MappingTag tag_;
  std::array<ept::testing::TableBuilder::Chain, kLinears.size()> guest_{};
  std::array<ept::testing::TableBuilder::Chain, kGuestPages> ept_{};
};

TEST_F(TranslationCachesTest, OnlyInveptReachesAGuestPhysicalMapping) {
  EXPECT_EQ(seen(kLinear), kHostPage);
  set_ept_page(0, kHostPage + 0x9000);
  EXPECT_EQ(seen(kLinear), kHostPage);
  for (const Kind kind : {Kind::kLinearVpid, Kind::kLinearAddress, Kind::kPcid, Kind::kPageFault}) {
    invalidate(kind, kLinear);
    EXPECT_EQ(seen(kLinear), kHostPage) << static_cast<int>(kind);
  }
  const uint64_t eptp = ept.eptp.value;
  ept.eptp.value = 0xff000;
  invalidate(Kind::kGuestPhysicalEptp);
  ept.eptp.value = eptp;
  EXPECT_EQ(seen(kLinear), kHostPage) << "the INVEPT of another EPTP";
  invalidate(Kind::kGuestPhysicalEptp);
  EXPECT_EQ(seen(kLinear), kHostPage + 0x9000);
}

TEST_F(TranslationCachesTest, InvlpgReachesThePageAndAllPagingStructureCachesOfThePcid) {
  EXPECT_EQ(seen(kLinears[0]), kHostPage);
  EXPECT_EQ(seen(kLinears[1]), kHostPage + kPage);
  set_guest_page(0, 5);
  set_guest_page(1, 6);
  EXPECT_EQ(seen(kLinears[0]), kHostPage);
  invalidate(Kind::kLinearAddress, kLinears[0]);
  EXPECT_EQ(seen(kLinears[0]), kHostPage + 5 * kPage);
  EXPECT_EQ(seen(kLinears[1]), kHostPage + kPage) << "another page";
  // The PDE of the second table now references the first one.
  EXPECT_EQ(seen(kLinears[4]), kHostPage + 4 * kPage);
  tables.put(guest_[4][2], tables.get(guest_[0][2]));
  EXPECT_EQ(seen(kLinears[5]), kHostPage + 5 * kPage) << "through the cached PDE";
  invalidate(Kind::kPcidAddress, kLinears[0]);
  EXPECT_EQ(seen(kLinears[4]), kHostPage + 4 * kPage);
  invalidate(Kind::kLinearAddress, kLinears[0]);
  EXPECT_EQ(seen(kLinears[4]), kHostPage + 4 * kPage) << "the translation itself is cached";
  invalidate(Kind::kPcidAddress, kLinears[4]);
  EXPECT_EQ(seen(kLinears[4]), kHostPage + 5 * kPage) << "through the table of the first";
}

TEST_F(TranslationCachesTest, MappingsBelongToVpidPcidAndEptp) {
  EXPECT_EQ(seen(kLinear), kHostPage);
  set_guest_page(0, 3);
  tag_.vpid = 1;
  EXPECT_EQ(seen(kLinear), kHostPage + 3 * kPage);
  tag_.vpid = 0;
  tag_.pcid = 1;
  EXPECT_EQ(seen(kLinear), kHostPage + 3 * kPage);
  tag_.pcid = 0;
  EXPECT_EQ(seen(kLinear), kHostPage);
  tag_.paging = false;
  EXPECT_EQ(seen(kLinear), kHostPage + 3 * kPage);
  tag_.paging = true;
  EXPECT_EQ(seen(kLinear), kHostPage);
}

TEST_F(TranslationCachesTest, GlobalPagesServeEveryPcid) {
  set_guest_page(0, 0, 7 | bit(8));
  EXPECT_EQ(seen(kLinear), kHostPage);
  set_guest_page(0, 2, 7);
  tag_.pcid = 7;
  EXPECT_EQ(seen(kLinear), kHostPage);
  invalidate(Kind::kPcid);
  invalidate(Kind::kVpidRetainingGlobals);
  EXPECT_EQ(seen(kLinear), kHostPage);
  invalidate(Kind::kLinearAddress, kLinear);
  EXPECT_EQ(seen(kLinear), kHostPage + 2 * kPage);
}

TEST_F(TranslationCachesTest, WhatRefusesAnAccessIsDroppedAndTheTablesDecide) {
  set_guest_page(0, 0, 5);  // not writable
  set_guest_page(1, 1, 7);
  set_ept_page(1, kHostPage + kPage, 1);  // not writable
  for (const uint64_t linear : {kLinears[0], kLinears[1]})
    EXPECT_TRUE(translate(linear).translated());
  EXPECT_EQ(translate(kLinears[0], kWrite).outcome, Outcome::kPageFault);
  EXPECT_EQ(translate(kLinears[1], kWrite).outcome, Outcome::kEptViolation);
  for (const uint64_t linear : {kLinears[0], kLinears[1]})
    EXPECT_TRUE(translate(linear).translated());
  set_guest_page(0, 2, 7);
  set_ept_page(1, kHostPage + 0x9000, 3);
  EXPECT_EQ(translate(kLinears[0], kWrite).address.value, kHostPage + 2 * kPage);
  EXPECT_EQ(translate(kLinears[1], kWrite).address.value, kHostPage + 0x9000);
  EXPECT_EQ(seen(kLinears[0]), kHostPage + 2 * kPage) << "the read mapping is gone too";
}

TEST_F(TranslationCachesTest, AWriteWithoutADirtyFlagIsAWalk) {
  EXPECT_TRUE(translate(kLinear).translated());
  EXPECT_EQ(tables.get(guest_[0][1]) & bit(6), 0u);
  EXPECT_TRUE(translate(kLinear, kWrite).translated());
  EXPECT_NE(tables.get(guest_[0][1]) & bit(6), 0u);
  tables.put(guest_[0][1], tables.get(guest_[0][1]) & ~bit(6));
  EXPECT_TRUE(translate(kLinear, kWrite).translated());
  EXPECT_EQ(tables.get(guest_[0][1]) & bit(6), 0u) << "a dirty flag cleared without INVLPG is lost";
}

TEST_F(TranslationCachesTest, TheUseOfAStaleMappingIsNotedOnceAndCountedAlways) {
  EXPECT_TRUE(translate(kLinear).translated());
  auto* found = caches_->find(tag_, kLinear, kRead, paging, &ept);
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(caches_->note_stale(*found));
  EXPECT_FALSE(caches_->note_stale(*found));
  EXPECT_EQ(caches_->counts().stale, 2u);
  EXPECT_EQ(caches_->counts().hits, 1u);
  EXPECT_EQ(caches_->counts().misses, 1u);
  EXPECT_EQ(caches_->peek(tag_, kLinear, kWrite, paging, &ept), nullptr) << "not dirty";
  EXPECT_NE(caches_->peek(tag_, kLinear, kRead, paging, &ept), nullptr);
  EXPECT_FALSE(caches_->take_dropped());
  invalidate(Kind::kAll);
  EXPECT_TRUE(caches_->take_dropped());
  EXPECT_FALSE(caches_->take_dropped());
}

// Software that changes tables at random, and invalidates as the guidelines ask ("Recommended
// Invalidation", "Guidelines for Use of the INVEPT Instruction"), always sees the tables. Software
// that does not, does not.
class Changes : public TranslationCachesTest {
 protected:
  // The share of translations that agree with the tables, out of 1.
  double agreement(bool invalidates, bool ept_flags) {
    if (ept_flags) ept.eptp.value |= bit(6);
    std::mt19937_64 random(7);
    const auto below = [&](uint64_t bound) { return random() % bound; };
    const auto everywhere = [&](Kind kind, uint64_t linear) {
      for (const uint16_t vpid : {uint16_t{0}, uint16_t{1}}) {
        ept::Invalidation what;
        what.kind = kind;
        what.vpid = vpid;
        what.linear = linear;
        if (invalidates) caches_->invalidate(what);
      }
    };
    unsigned agreed = 0;
    constexpr unsigned kSteps = 200'000;
    for (unsigned step = 0; step < kSteps; ++step) {
      const size_t i = below(kLinears.size());
      const auto page = static_cast<unsigned>(below(kGuestPages));
      if (below(4) == 0) {
        const uint64_t old = tables.get(guest_[i][1]);
        set_guest_page(i, page, below(8) | below(2) << 8 | below(2) << 63);
        // The table may have changed places.
        const uint64_t other = i < 4 ? kLinears[i] + (2 << 20) : kLinears[i] - (2 << 20);
        for (const uint64_t linear : {kLinears[i], other}) {
          if (old & 1) everywhere(Kind::kVpidAddress, linear);
        }
      }
      if (below(4) == 0) {
        constexpr std::array<uint64_t, 5> kRights = {0, 1, 3, 5, 7};
        const bool present = tables.get(ept_[page][1]) & 7;
        set_ept_page(page, kHostPage + below(16) * kPage, kRights[below(kRights.size())]);
        if (present && invalidates) invalidate(Kind::kGuestPhysicalEptp);
      }
      if (below(50) == 0) {  // the two page tables change places
        const uint64_t first = tables.get(guest_[0][2]);
        tables.put(guest_[0][2], tables.get(guest_[4][2]));
        tables.put(guest_[4][2], first);
        everywhere(Kind::kLinearVpid, 0);
      }
      if (below(8) == 0) {
        tag_.vpid = static_cast<uint16_t>(below(2));
        tag_.pcid = static_cast<uint16_t>(below(3));
      }
      Access access;
      access.kind = static_cast<Access::Kind>(below(3));
      access.user = below(2) != 0;
      const uint64_t linear = kLinears[below(kLinears.size())] + below(kPage);
      const auto wanted = fresh(linear, access);
      const auto got = translate(linear, access);
      agreed += got.outcome == wanted.outcome && got.address == wanted.address &&
                got.error_code == wanted.error_code &&
                got.exit_qualification == wanted.exit_qualification;
    }
    return static_cast<double>(agreed) / kSteps;
  }
};

TEST_F(Changes, AreSeenByWhoeverInvalidates) { EXPECT_EQ(agreement(true, false), 1.0); }
TEST_F(Changes, AreSeenWithAccessedAndDirtyFlagsForEpt) { EXPECT_EQ(agreement(true, true), 1.0); }
TEST_F(Changes, AreMissedByWhoeverDoesNot) { EXPECT_LT(agreement(false, false), 0.9); }

}  // namespace
}  // namespace nestor::emu
