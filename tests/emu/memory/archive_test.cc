// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/archive.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace nestor::emu {
namespace {

enum class Colour : uint8_t { kRed, kGreen };

struct Inner {
  uint16_t a = 0;
  std::deque<uint8_t> queue;
  void fields(Archive& archive) {
    archive(a);
    archive.sequence(queue, 4);
  }
  bool operator==(const Inner&) const = default;
};

struct Outer {
  bool flag = false;
  int32_t negative = 0;
  Colour colour = Colour::kRed;
  std::optional<uint64_t> maybe, none = 7;
  std::array<Inner, 2> inner;
  void fields(Archive& archive) { archive(flag, negative, colour, maybe, none, inner); }
  bool operator==(const Outer&) const = default;
};

Outer example() {
  return {true, -5, Colour::kGreen, ~0ull, std::nullopt, {Inner{1, {9, 8}}, Inner{0xffff, {}}}};
}

std::vector<uint8_t> saved(Outer outer) {
  StateWriter writer;
  writer.section("outer");
  writer(outer);
  EXPECT_TRUE(writer.ok());
  return writer.bytes();
}

TEST(ArchiveTest, LoadsWhatWasSaved) {
  const std::vector<uint8_t> bytes = saved(example());
  StateReader reader(bytes);
  Outer loaded;
  reader.section("outer");
  reader(loaded);
  EXPECT_TRUE(reader.ok());
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(loaded, example());
}

TEST(ArchiveTest, SavingChangesNothing) {
  Outer outer = example();
  StateWriter writer;
  writer(outer);
  EXPECT_EQ(outer, example());
}

TEST(ArchiveTest, RefusesWhatEndsEarly) {
  const std::vector<uint8_t> bytes = saved(example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    StateReader reader{std::span<const uint8_t>(bytes).first(size)};
    Outer loaded;
    reader.section("outer");
    reader(loaded);
    EXPECT_FALSE(reader.ok()) << size;
  }
}

TEST(ArchiveTest, RefusesAnotherSection) {
  const std::vector<uint8_t> bytes = saved(example());
  StateReader other(bytes), longer(bytes);
  other.section("inner");
  EXPECT_FALSE(other.ok());
  longer.section("outermost");
  EXPECT_FALSE(longer.ok());
}

TEST(ArchiveTest, RefusesWhatNoFieldHolds) {
  const std::array<uint8_t, 1> two = {2};
  StateReader flag_reader(two);
  bool flag = false;
  flag_reader(flag);
  EXPECT_FALSE(flag_reader.ok());
  StateWriter writer;
  std::deque<uint8_t> five(5);
  writer.sequence(five, 5);
  StateReader reader(writer.bytes());
  std::deque<uint8_t> loaded;
  reader.sequence(loaded, 4);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(loaded.empty());
}

}  // namespace
}  // namespace nestor::emu
