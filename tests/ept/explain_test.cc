// SPDX-License-Identifier: MIT

#include "ept/explain.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "ept/walk.h"
#include "tests/ept/random_tables.h"

namespace nestor::ept::testing {
namespace {

/// visit(world, access, walk, steps) for walks of every paging mode.
template <class Visit>
void for_random_walks(const Visit& visit) {
  for (const PagingMode mode :
       {PagingMode::k32Bit, PagingMode::kPae, PagingMode::k4Level, PagingMode::k5Level}) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      RandomWorld world(seed, mode);
      Random random(seed);
      for (unsigned i = 0; i != 300; ++i) {
        RecordSteps<kLongestNestedWalk + kLongestSubPageWalk> recorder;
        const Access access = RandomWorld::random_access(random);
        const LinearAddress linear{world.random_linear(random)};
        const auto walk =
            walk_nested(world.memory, world.state, world.ept, linear, access, recorder);
        visit(world, access, walk, recorder.steps());
        if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed;
      }
    }
  }
}

/// A walk that ends at a misconfigured entry, or at a reserved bit, has an explanation; every other
/// entry on the way has none.
TEST(Explain, NamesARuleExactlyWhenTheWalkFailsForOne) {
  std::set<std::string> reasons;
  for_random_walks([&](const RandomWorld& world, Access, const auto& walk,
                       std::span<const Step> steps) {
    for (const Step& step : steps) {
      const bool last = &step == &steps.back();
      std::string_view reason;
      bool failed = false;
      const char* table = "guest: ";
      switch (step.dimension) {
        case Dimension::kGuest:
          reason = explain_reserved_bits(world.state, step.entry, step.level);
          failed = last && walk.outcome == NestedOutcome::kPageFault &&
                   (walk.error_code & PageFaultCode::kReserved) != 0;
          break;
        case Dimension::kEpt:
          table = "EPT: ";
          reason = explain_misconfiguration(world.ept, step.entry, step.level);
          failed = last && walk.outcome == NestedOutcome::kEptMisconfiguration;
          break;
        case Dimension::kSubPage:
          table = "sub-page: ";
          reason = explain_sub_page_misconfiguration(world.ept, step.entry, step.level);
          failed =
              last && walk.outcome == NestedOutcome::kSubPageEvent && walk.exit_qualification == 0;
          break;
      }
      ASSERT_EQ(!reason.empty(), failed)
          << reason << " level " << unsigned{step.level} << " entry 0x" << std::hex << step.entry;
      if (failed) reasons.insert(table + std::string(reason));
    }
  });
  EXPECT_EQ(reasons.size(), 8U + 5U + 3U);  // every rule of all tables was met
}

TEST(Explain, FindsTheRule) {
  EptState ept;
  ept.maxphyaddr = 40;
  EXPECT_EQ(explain_misconfiguration(ept, 2, 1), "write access without read access");
  EXPECT_EQ(explain_misconfiguration(ept, 7 | 3 << 3, 1), "a reserved memory type");
  EXPECT_EQ(explain_misconfiguration(ept, 7 | bit(7), 4), "bit 7 where no page can be mapped");
  EXPECT_EQ(explain_misconfiguration(ept, 7 | bit(40), 2),
            "an address bit beyond the physical-address width");
  EXPECT_EQ(explain_misconfiguration(ept, 0xfff8 & ~bit(10), 1), "");
  PagingState paging;
  paging.mode = PagingMode::k4Level;
  EXPECT_EQ(explain_reserved_bits(paging, bit(63) | 1, 2),
            "execute disable while IA32_EFER.NXE is 0");
  EXPECT_EQ(explain_reserved_bits(paging, bit(63), 2), "");
  EXPECT_EQ(explain_reserved_bits(paging, bit(7) | bit(13) | 1, 2),
            "an address that is not aligned to the page size");
}

/// Every other fault has something that refused the access.
TEST(Explain, NamesWhatRefusedAnAccess) {
  std::set<std::string> reasons;
  for_random_walks([&](const RandomWorld& world, Access access, const auto& walk,
                       std::span<const Step> steps) {
    const auto level = [&](Dimension dimension) {
      for (std::size_t s = steps.size(); s-- != 0;)
        if (steps[s].dimension == dimension) return unsigned{steps[s].level};
      return 0U;
    };
    if (walk.outcome == NestedOutcome::kEptViolation) {
      const auto reason = explain_ept_violation(walk.exit_qualification, level(Dimension::kEpt));
      EXPECT_NE(reason, "EPT does not allow it");
      reasons.emplace(reason);
    }
    if (walk.outcome != NestedOutcome::kPageFault) return;
    if ((walk.error_code & PageFaultCode::kReserved) != 0) return;
    const auto reason = explain_page_fault(world.state, access, walk.error_code, walk.rights,
                                           level(Dimension::kGuest));
    reasons.emplace(reason);
    if (reason != "write to a read-only page") return;
    EXPECT_EQ(access.kind, Access::kWrite);
    EXPECT_FALSE(walk.rights.writable);
  });
  for (const char* reason :
       {"the PDPTE is not present", "the level 1 entry is not present",
        "the level 4 entry is not present", "its protection key forbids it",
        "user-mode access to a supervisor-mode page", "execute disable",
        "CR4.SMEP: supervisor-mode fetch from a user-mode page",
        "CR4.SMAP: supervisor-mode access to a user-mode page", "write to a read-only page",
        "the level 1 EPT entry is not present", "EPT allows no write", "EPT allows no fetch"}) {
    EXPECT_TRUE(reasons.contains(reason)) << reason;
  }
}

}  // namespace
}  // namespace nestor::ept::testing
