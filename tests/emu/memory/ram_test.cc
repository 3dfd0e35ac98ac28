// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/ram.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {
namespace {

constexpr uint64_t kMiB = 1ull << 20, kGiB = 1ull << 30;

// Bytes of this process that the host really holds.
uint64_t resident() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, pages = 0;
  statm >> total >> pages;
  return pages * 4096;
}

TEST(RamTest, LeavesTheLegacyHoleOut) {
  Ram ram(16 * kMiB);
  ASSERT_EQ(ram.ranges().size(), 2u);
  EXPECT_EQ(ram.ranges()[0].first, 0u);
  EXPECT_EQ(ram.ranges()[0].size, 0xa0000u);
  EXPECT_EQ(ram.ranges()[1].first, 0x100000u);
  EXPECT_EQ(ram.ranges()[1].size, 15 * kMiB);
  EXPECT_EQ(ram.end(), 16 * kMiB);
  EXPECT_NE(ram.host(0x9ffff, 1), nullptr);
  EXPECT_EQ(ram.host(0x9ffff, 2), nullptr);
  EXPECT_EQ(ram.host(0xa0000, 1), nullptr);
  EXPECT_EQ(ram.host(0xfffff, 1), nullptr);
  EXPECT_NE(ram.host(0x100000, 15 * kMiB), nullptr);
  EXPECT_EQ(ram.host(0x100000, 15 * kMiB + 1), nullptr);
  EXPECT_EQ(ram.host(16 * kMiB, 1), nullptr);
  EXPECT_EQ(ram.host(~0ull, 1), nullptr);
}

TEST(RamTest, PutsTheRestAboveFourGibibytes) {
  Ram ram(4 * kGiB);
  ASSERT_EQ(ram.ranges().size(), 3u);
  EXPECT_EQ(ram.ranges()[1].first + ram.ranges()[1].size, 0xc0000000u);
  EXPECT_EQ(ram.ranges()[2].first, 4 * kGiB);
  EXPECT_EQ(ram.ranges()[2].size, kGiB);
  EXPECT_EQ(ram.host(0xc0000000, 1), nullptr);
  EXPECT_EQ(ram.host(0xffffffff, 1), nullptr);
  EXPECT_EQ(ram.host(0xbfffffff, 2), nullptr);
}

TEST(RamTest, WithARomThereIsMemoryBehindIt) {
  Ram ram(16 * kMiB, {.rom = 0x40000});
  for (const uint64_t address : {0xc0000ull, 0xfffffull, 0xfffc0000ull, 0xffffffffull}) {
    EXPECT_NE(ram.host(address, 1), nullptr) << std::hex << address;
    EXPECT_TRUE(ram.is_guest_ram(address)) << std::hex << address;
    EXPECT_FALSE(ram.is_read_only(ram.host(address, 1)));
  }
  for (const uint64_t address : {0xa0000ull, 0xbffffull, 0xfffbffffull, 0x100000000ull})
    EXPECT_EQ(ram.host(address, 1), nullptr) << std::hex << address;
  EXPECT_EQ(ram.memory_map().size(), 3u) << "none of it is for loaders";
  ram.set_read_only(0xc4000, 0x2000, true);
  ram.set_read_only(0xc5000, 0x1000, false);
  EXPECT_FALSE(ram.is_read_only(ram.host(0xc3fff, 1)));
  EXPECT_TRUE(ram.is_read_only(ram.host(0xc4000, 1)));
  EXPECT_TRUE(ram.is_read_only(ram.host(0xc4fff, 1)));
  EXPECT_FALSE(ram.is_read_only(ram.host(0xc5000, 1)));
}

TEST(RamTest, ThreeGibibytesEndBelowTheDevices) {
  Ram ram(3 * kGiB);
  EXPECT_EQ(ram.ranges().size(), 2u);
  EXPECT_EQ(ram.end(), 3 * kGiB);
}

TEST(RamTest, IsOneContiguousMapping) {
  Ram ram(5 * kGiB);
  for (const RamRange& range : ram.ranges()) {
    EXPECT_EQ(range.host - range.first, ram.ranges()[0].host);
    EXPECT_EQ(ram.host(range.first, range.size), range.host);
  }
}

TEST(RamTest, LargestSizeCostsNothingUntilTouched) {
  const uint64_t before = resident();
  Ram ram(Ram::kMaximumSize);
  std::array<uint8_t, 4> word{1, 2, 3, 4};
  const uint64_t last = ram.end() - 4;
  EXPECT_GT(last, 64 * kGiB);
  EXPECT_TRUE(ram.write(last, word));
  std::array<uint8_t, 4> back{};
  EXPECT_TRUE(ram.read(last, back));
  EXPECT_EQ(back, word);
  EXPECT_TRUE(ram.read(32 * kGiB, back));
  EXPECT_EQ(back, (std::array<uint8_t, 4>{}));
  EXPECT_LT(resident(), before + 64 * kMiB);
}

TEST(RamTest, RefusesAccessesThatLeaveARange) {
  Ram ram(2 * kMiB);
  std::array<uint8_t, 8> data{};
  EXPECT_FALSE(ram.write(2 * kMiB - 4, data));
  EXPECT_FALSE(ram.read(0x9fffc, data));
  EXPECT_TRUE(ram.write(2 * kMiB - 8, data));
}

TEST(RamTest, RefusesImpossibleSizesInOneLine) {
  for (uint64_t size :
       std::initializer_list<uint64_t>{0, 4096, kMiB + 1, Ram::kMaximumSize + 4096, ~0ull}) {
    try {
      Ram ram(size);
      ADD_FAILURE() << size << " was accepted";
    } catch (const RamError& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("65536 MiB"), std::string::npos) << error.what();
    }
  }
  EXPECT_NO_THROW(Ram(Ram::kMinimumSize));
}

// Exits with 0 when RAM beyond the address-space limit is refused with a line that names its size.
[[noreturn]] void ask_for_too_much() {
  const rlimit limit{kGiB, kGiB};
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(2);
  try {
    Ram ram(8 * kGiB);
    std::exit(1);
  } catch (const RamError& error) {
    std::exit(std::string_view(error.what()).find("8192 MiB") == std::string_view::npos);
  }
}

TEST(RamDeathTest, SaysSoWhenTheHostCannotMapIt) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer needs the address space itself";
#endif
  EXPECT_EXIT(ask_for_too_much(), testing::ExitedWithCode(0), "");
}

TEST(RamTest, MemoryMapCoversRamAndReservesTheLegacyHole) {
  Ram ram(4 * kGiB);
  const auto map = ram.memory_map();
  ASSERT_EQ(map.size(), 4u);
  EXPECT_EQ(map[1].first, 0xa0000u);
  EXPECT_EQ(map[1].type, MemoryMapEntry::kReserved);
  for (size_t i = 1; i < map.size(); ++i)
    EXPECT_GE(map[i].first, map[i - 1].first + map[i - 1].size);
  EXPECT_EQ(map[3].first, 4 * kGiB);
  EXPECT_EQ(map[3].type, MemoryMapEntry::kRam);
}

TEST(RamTest, SavesWhatIsNotZeroAndLoadsNothingElse) {
  const auto save = [](Ram& ram) {
    return saved_bytes([&](Archive& archive) { ram.serialize(archive); });
  };
  Ram ram(16 * kMiB), loaded(16 * kMiB);
  const std::array<uint8_t, 3> bytes = {1, 2, 3}, zeros = {};
  ASSERT_TRUE(ram.write(0x5ffe, bytes));  // two pages
  ASSERT_TRUE(ram.write(0x900000, bytes));
  ASSERT_TRUE(ram.write(0x200000, zeros));
  ASSERT_TRUE(loaded.write(0x7000, bytes));
  const std::vector<uint8_t> state = save(ram);
  EXPECT_EQ(state.size(), 3 * (8 + 4096) + 2 * 8u);  // the pages, and the ends of two ranges
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { loaded.serialize(archive); }));
  EXPECT_EQ(save(loaded), state);
  std::array<uint8_t, 3> read = {9, 9, 9};
  ASSERT_TRUE(loaded.read(0x7000, read));
  EXPECT_EQ(read, zeros);
  ASSERT_TRUE(loaded.read(0x5ffe, read));
  EXPECT_EQ(read, bytes);
}

TEST(RamTest, RefusesPagesOutOfOrderOrOutOfRange) {
  const auto loads = [](std::initializer_list<uint64_t> offsets) {
    const std::vector<uint8_t> state = saved_bytes([&](Archive& archive) {
      std::array<uint8_t, 4096> page{1};
      for (uint64_t offset : offsets) {
        archive(offset);
        if (offset != ~0ull) archive.bytes(page);
      }
    });
    Ram ram(16 * kMiB);
    return load_bytes(state, [&](Archive& archive) { ram.serialize(archive); });
  };
  EXPECT_TRUE(loads({0x1000, 0x3000, ~0ull, ~0ull}));
  EXPECT_FALSE(loads({0x1000, 0x1000, ~0ull, ~0ull}));
  EXPECT_FALSE(loads({0x3000, 0x1000, ~0ull, ~0ull}));
  EXPECT_FALSE(loads({0x1001, ~0ull, ~0ull}));
  EXPECT_FALSE(loads({0xa0000, ~0ull, ~0ull}));
}

}  // namespace
}  // namespace nestor::emu
