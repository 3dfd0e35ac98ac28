// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/msr_lists.h"

#include <gtest/gtest.h>

#include "tests/vmx/fake_processor.h"

namespace nestor::vmx::test {
namespace {

class MsrListTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kArea = 0x1000;
  FakeProcessor cpu;

  void entry(uint32_t i, uint64_t header, uint64_t data) {
    cpu.poke(kArea + 16 * i, header);
    cpu.poke(kArea + 16 * i + 8, data);
  }
  std::optional<MsrListFailure> load(uint32_t count, uint32_t limit = 512) {
    return load_msrs(cpu, {{kArea}, count, limit});
  }
  std::optional<MsrListFailure> store(uint32_t count, uint32_t limit = 512) {
    return store_msrs(cpu, {{kArea}, count, limit});
  }
};

TEST_F(MsrListTest, LoadsInOrder) {
  cpu.msrs[0x174] = cpu.msrs[0x175] = 0;
  entry(0, 0x174, 1);
  entry(1, 0x175, 2);
  entry(2, 0x174, 3);
  EXPECT_FALSE(load(3));
  EXPECT_EQ(cpu.msrs[0x174], 3u);
  EXPECT_EQ(cpu.msrs[0x175], 2u);
}

TEST_F(MsrListTest, AnEmptyListDoesNothing) {
  entry(0, 0xffffffff, 1);
  EXPECT_FALSE(load(0));
  EXPECT_FALSE(store(0));
}

TEST_F(MsrListTest, LoadFailures) {
  for (const uint64_t header :
       {uint64_t{0xc0000100}, uint64_t{0xc0000101}, uint64_t{0x800}, uint64_t{0x8ff},
        uint64_t{0x9b}, uint64_t{0x79}, uint64_t{0x8b}, uint64_t{0x1'0000'0174}}) {
    cpu.msrs[static_cast<uint32_t>(header)] = 7;
    entry(0, header, 1);
    const auto failure = load(1);
    ASSERT_TRUE(failure) << std::hex << header;
    EXPECT_EQ(failure->entry, 1u);
    EXPECT_EQ(failure->header, header);
    EXPECT_EQ(cpu.msrs[static_cast<uint32_t>(header)], 7u);
  }
  entry(0, 0x12345, 0);
  ASSERT_TRUE(load(1)) << "WRMSR faults";
}

// The number of the entry is the exit qualification of the VM-entry failure.
TEST_F(MsrListTest, FailuresNameTheEntry) {
  for (const uint64_t header : {uint64_t{0x1'0000'0174}, uint64_t{0x12345}}) {
    cpu.msrs[0x174] = 0;
    entry(0, 0x174, 1);
    entry(1, 0x174, 2);
    entry(2, header, 3);
    for (const auto& failure : {load(3), store(3)}) {
      ASSERT_TRUE(failure) << header;
      EXPECT_EQ(failure->entry, 3u);
      EXPECT_EQ(failure->header, header);
    }
  }
  for (const auto& failure : {load(3, 1), store(3, 1)}) {
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->entry, 2u);
    EXPECT_EQ(failure->header, 0u);
  }
  constexpr MsrList kNowhere{{0x10000000}, 1, 512};
  for (const auto& failure : {load_msrs(cpu, kNowhere), store_msrs(cpu, kNowhere)}) {
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->entry, 1u);
  }

  cpu.poke((1 << 20) - 8, uint64_t{0x174});
  const auto failure = store_msrs(cpu, {{(1 << 20) - 8}, 1, 512});
  ASSERT_TRUE(failure) << "the value has no room";
  EXPECT_EQ(failure->entry, 1u);
  EXPECT_EQ(failure->header, 0x174u);
}

TEST_F(MsrListTest, StoreFailures) {
  for (const uint64_t header : {uint64_t{0x800}, uint64_t{0x9e}, uint64_t{0x1'0000'0174}}) {
    cpu.msrs[static_cast<uint32_t>(header)] = 7;
    entry(0, header, 1);
    ASSERT_TRUE(store(1)) << std::hex << header;
    EXPECT_EQ(cpu.peek<uint64_t>(kArea + 8), 1u);
  }
  entry(0, 0x12345, 0);
  EXPECT_TRUE(store(1)) << "RDMSR faults";
}

TEST_F(MsrListTest, StoreMayNameWhatLoadMayNot) {
  cpu.msrs[0xc0000100] = 0x55;
  entry(0, 0xc0000100, 0);
  EXPECT_FALSE(store(1));
  EXPECT_EQ(cpu.peek<uint64_t>(kArea + 8), 0x55u);
}

TEST_F(MsrListTest, ListsBeyondTheMaximumFailAtTheFirstEntryTooMany) {
  cpu.msrs[0x10] = 0;
  for (uint32_t i = 0; i < 4; ++i) entry(i, 0x10, i);
  EXPECT_FALSE(load(3, 3));
  const auto failure = load(4, 3);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->entry, 4u);
  EXPECT_TRUE(store(4, 3));
}

}  // namespace
}  // namespace nestor::vmx::test
