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
    {kWriteCombining, kWriteBack, kWriteCombining},
    {kWriteThrough, kUncacheable, kUncacheable},
    {kWriteThrough, kUncachedMinus, kUncacheable},
    {kWriteThrough, kWriteCombining, kWriteCombining},
    {kWriteThrough, kWriteThrough, kWriteThrough},
    {kWriteThrough, kWriteBack, kWriteThrough},
    {kWriteBack, kUncacheable, kUncacheable},
    {kWriteBack, kUncachedMinus, kUncacheable},
    {kWriteBack, kWriteCombining, kWriteCombining},
    {kWriteBack, kWriteThrough, kWriteThrough},
    {kWriteBack, kWriteBack, kWriteBack},
    {kWriteBack, kWriteProtected, kWriteProtected},
    {kWriteProtected, kUncacheable, kUncacheable},
    {kWriteProtected, kWriteCombining, kWriteCombining},
    {kWriteProtected, kWriteBack, kWriteProtected},
    {kWriteProtected, kWriteProtected, kWriteProtected},
};

TEST(MemoryTypes, CombineAsTheManualsTable) {
  for (const Combination& c : kTable) {
    EXPECT_EQ(effective_memory_type(c.ept, false, c.pat), c.effective)
        << memory_type_name(c.ept) << " with " << memory_type_name(c.pat);
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
}

TEST(MemoryTypes, Names) {
  EXPECT_EQ(memory_type_name(kUncacheable), "UC");
  EXPECT_EQ(memory_type_name(kUncachedMinus), "UC-");
  EXPECT_EQ(memory_type_name(static_cast<MemoryType>(3)), "reserved");
}

TEST(Bits, FieldsIncludeBothEnds) {
  EXPECT_EQ(bits(63, 0), ~std::uint64_t{0});
  EXPECT_EQ(bits(5, 3), 0x38U);
  EXPECT_EQ(low_bits(64), ~std::uint64_t{0});
}

}  // namespace
}  // namespace nestor::ept::testing
