// SPDX-License-Identifier: MIT

#include "ept/memory_type.h"

#include <gtest/gtest.h>

#include "ept/bits.h"

namespace nestor::ept::testing {
namespace {

using enum MemoryType;

struct Combination {
  MemoryType ept;
  MemoryType pat;
  MemoryType effective;
};

// "Effective Page-Level Memory Types for Pentium III and More Recent Processor Families".
constexpr Combination kTable[] = {
    {kUncacheable, kUncacheable, kUncacheable},
    {kUncacheable, kUncachedMinus, kUncacheable},
    {kUncacheable, kWriteCombining, kWriteCombining},
    {kUncacheable, kWriteThrough, kUncacheable},
    {kUncacheable, kWriteBack, kUncacheable},
    {kUncacheable, kWriteProtected, kUncacheable},
    {kWriteCombining, kUncacheable, kUncacheable},
    {kWriteCombining, kUncachedMinus, kWriteCombining},
    {kWriteCombining, kWriteCombining, kWriteCombining},
    {kWriteCombining, kWriteThrough, kUncacheable},
    {kWriteCombining, kWriteProtected, kUncacheable},
    {kWriteCombining, kWriteBack, kWriteCombining},
    {kWriteThrough, kUncacheable, kUncacheable},
    {kWriteThrough, kUncachedMinus, kUncacheable},
    {kWriteThrough, kWriteCombining, kWriteCombining},
    {kWriteThrough, kWriteThrough, kWriteThrough},
    {kWriteThrough, kWriteBack, kWriteThrough},
    {kWriteThrough, kWriteProtected, kWriteProtected},
    {kWriteBack, kUncacheable, kUncacheable},
    {kWriteBack, kUncachedMinus, kUncacheable},
    {kWriteBack, kWriteCombining, kWriteCombining},
    {kWriteBack, kWriteThrough, kWriteThrough},
    {kWriteBack, kWriteBack, kWriteBack},
    {kWriteBack, kWriteProtected, kWriteProtected},
    {kWriteProtected, kUncacheable, kUncacheable},
    {kWriteProtected, kUncachedMinus, kWriteCombining},
    {kWriteProtected, kWriteCombining, kWriteCombining},
    {kWriteProtected, kWriteThrough, kWriteThrough},
    {kWriteProtected, kWriteBack, kWriteProtected},
    {kWriteProtected, kWriteProtected, kWriteProtected},
};

TEST(MemoryTypes, CombineAsTheManualsTable) {
  for (const Combination& c : kTable) {
    EXPECT_EQ(effective_memory_type(c.ept, false, c.pat), c.effective)
        << memory_type_name(c.ept) << " with " << memory_type_name(c.pat);
  }
}

TEST(MemoryTypes, ReservedCombinationsAreUncacheable) {
  for (unsigned ept = 0; ept != 8; ++ept) {
    for (unsigned pat = 0; pat != 8; ++pat) {
      const bool reserved = ept == 2 || ept == 3 || ept == 7 || pat == 2 || pat == 3;
      if (!reserved) continue;
      EXPECT_EQ(
          effective_memory_type(static_cast<MemoryType>(ept), false, static_cast<MemoryType>(pat)),
          kUncacheable)
          << ept << ' ' << pat;
    }
  }
}

TEST(MemoryTypes, IgnorePatLeavesTheEptType) {
  for (const Combination& c : kTable) {
    EXPECT_EQ(effective_memory_type(c.ept, true, c.pat), c.ept);
  }
}

TEST(MemoryTypes, PatEntriesAreBytes) {
  constexpr std::uint64_t kAfterReset = 0x0007'0406'0007'0406;
  EXPECT_EQ(pat_type(kAfterReset, 0), kWriteBack);
  EXPECT_EQ(pat_type(kAfterReset, 1), kWriteThrough);
  EXPECT_EQ(pat_type(kAfterReset, 2), kUncachedMinus);
  EXPECT_EQ(pat_type(kAfterReset, 7), kUncacheable);
  for (unsigned index = 0; index != 8; ++index) {
    EXPECT_EQ(pat_type(std::uint64_t{6} << (8 * index), index), kWriteBack);
    EXPECT_EQ(pat_type(~(std::uint64_t{7} << (8 * index)), index), kUncacheable);
  }
}

TEST(MemoryTypes, Names) {
  constexpr const char* kNames[] = {"UC", "WC", "reserved", "reserved", "WT", "WP", "WB", "UC-"};
  for (unsigned type = 0; type != 8; ++type) {
    EXPECT_EQ(memory_type_name(static_cast<MemoryType>(type)), kNames[type]);
  }
}

TEST(Bits, FieldsIncludeBothEnds) {
  EXPECT_EQ(bits(63, 0), ~std::uint64_t{0});
  EXPECT_EQ(bits(5, 3), 0x38U);
  EXPECT_EQ(low_bits(64), ~std::uint64_t{0});
}

}  // namespace
}  // namespace nestor::ept::testing
