// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/archive.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
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
  return saved_bytes([&](Archive& archive) {
    archive.section("outer");
    archive(outer);
    EXPECT_TRUE(archive.ok());
  });
}

TEST(ArchiveTest, LoadsWhatWasSaved) {
  const std::vector<uint8_t> bytes = saved(example());
  Outer loaded;
  EXPECT_TRUE(load_bytes(bytes, [&](Archive& archive) {
    archive.section("outer");
    archive(loaded);
  }));
  EXPECT_EQ(loaded, example());
}

TEST(ArchiveTest, SavingChangesNothing) {
  Outer outer = example();
  EXPECT_FALSE(saved_bytes([&](Archive& archive) { archive(outer); }).empty());
  EXPECT_EQ(outer, example());
}

TEST(ArchiveTest, RefusesWhatEndsEarly) {
  const std::vector<uint8_t> bytes = saved(example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    Outer loaded;
    EXPECT_FALSE(load_bytes(std::span(bytes).first(size), [&](Archive& archive) {
      archive.section("outer");
      archive(loaded);
    })) << size;
  }
}

TEST(ArchiveTest, HandsOnAndTakesChunks) {
  std::vector<uint8_t> large(200'000);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<uint8_t>(i * 7);
  std::vector<std::vector<uint8_t>> chunks;
  StateWriter writer(
      [&](std::span<const uint8_t> chunk) { chunks.emplace_back(chunk.begin(), chunk.end()); });
  uint32_t number = 5;
  for (int i = 0; i < 3; ++i) {
    writer.bytes(large);
    writer(number);
  }
  writer.flush();
  EXPECT_GT(chunks.size(), 1u);
  size_t next = 0;
  StateReader reader([&] {
    return next < chunks.size() ? std::span<const uint8_t>(chunks[next++])
                                : std::span<const uint8_t>();
  });
  for (int i = 0; i < 3; ++i) {
    std::vector<uint8_t> loaded(large.size());
    reader.bytes(loaded);
    EXPECT_EQ(loaded, large);
    number = 0;
    reader(number);
    EXPECT_EQ(number, 5u);
  }
  EXPECT_TRUE(reader.ok() && reader.at_end());
}

TEST(ArchiveTest, RefusesAnotherSection) {
  const std::vector<uint8_t> bytes = saved(example());
  for (const std::string_view name : {"inner", "outermost"}) {
    EXPECT_FALSE(load_bytes(bytes, [&](Archive& archive) { archive.section(name); })) << name;
  }
}

TEST(ArchiveTest, RefusesWhatNoFieldHolds) {
  const std::array<uint8_t, 1> two = {2};
  bool flag = false;
  EXPECT_FALSE(load_bytes(two, [&](Archive& archive) { archive(flag); }));
  std::deque<uint8_t> five(5), loaded;
  const std::vector<uint8_t> bytes =
      saved_bytes([&](Archive& archive) { archive.sequence(five, 5); });
  EXPECT_FALSE(load_bytes(bytes, [&](Archive& archive) { archive.sequence(loaded, 4); }));
  EXPECT_TRUE(loaded.empty());
}

}  // namespace
}  // namespace nestor::emu
