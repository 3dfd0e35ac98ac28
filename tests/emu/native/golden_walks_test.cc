// SPDX-License-Identifier: GPL-2.0-or-later

// The walker does what KVM did, where it was recorded. Without KVM.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "emu/native/layout.h"
#include "emu/native/recording.h"

namespace nestor::emu::native {
namespace {

using Kind = RecordedResult::Kind;

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> result;
  const std::filesystem::path folder = NESTOR_SOURCE_DIR "/tests/golden/walks";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    result.push_back(entry.path());
  }
  return result;
}

std::vector<RecordedWalk> walks_of(const std::string& text) {
  auto parsed = parse_recording(text);
  if (auto* bad = std::get_if<std::string>(&parsed)) {
    ADD_FAILURE() << *bad;
    return {};
  }
  return std::get<std::vector<RecordedWalk>>(std::move(parsed));
}

TEST(GoldenWalks, TheWalkerDoesTheSame) {
  ASSERT_FALSE(files().empty());
  std::vector<std::byte> memory(Layout::kMemorySize);
  for (const auto& path : files()) {
    const auto walks = walks_of(contents(path));
    EXPECT_GT(walks.size(), 100U) << path;
    for (std::size_t i = 0; i != walks.size(); ++i) {
      const auto difference = replay(walks[i], memory);
      EXPECT_FALSE(difference) << path << ", walk " << i + 1 << ": " << *difference;
    }
  }
}

TEST(GoldenWalks, HaveEveryKindOfResult) {
  std::set<Kind> kinds;
  std::set<std::uint32_t> codes;
  unsigned flags_set = 0;
  for (const auto& path : files()) {
    for (const RecordedWalk& walk : walks_of(contents(path))) {
      kinds.insert(walk.result.kind);
      if (walk.result.kind == Kind::kPageFault) codes.insert(walk.result.error_code);
      flags_set += !walk.left.empty();
    }
  }
  EXPECT_EQ(kinds.size(), 6U);
  EXPECT_THAT(codes, testing::IsSupersetOf({0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 9U, 0xbU, 0xdU, 0xfU,
                                            0x10U, 0x11U, 0x14U, 0x15U, 0x19U, 0x1dU}))
      << "not present, denied and reserved bits, as each access";
  EXPECT_GT(flags_set, 20U);
}

TEST(GoldenWalks, ADifferenceIsNoticed) {
  unsigned results = 0, flags = 0, dirty = 0;
  std::vector<std::byte> memory(Layout::kMemorySize);
  for (const auto& path : files()) {
    for (const RecordedWalk& walk : walks_of(contents(path))) {
      RecordedWalk wrong = walk;
      wrong.result.error_code ^= 2;
      wrong.result.address ^= 0x1000;
      ASSERT_TRUE(replay(wrong, memory));
      wrong = walk;
      wrong.result.kind =
          walk.result.kind == Kind::kPageFault ? Kind::kCompleted : Kind::kPageFault;
      ASSERT_TRUE(replay(wrong, memory));
      ++results;
      const bool faulted = walk.result.kind != Kind::kTranslated &&
                           walk.result.kind != Kind::kCompleted &&
                           walk.result.kind != Kind::kOutside;
      if (!walk.left.empty() && !faulted) {
        wrong = walk;
        wrong.left.pop_back();
        ASSERT_TRUE(replay(wrong, memory));
        ++flags;
      }
      if (walk.asked.entries.empty()) continue;
      // A dirty flag counts after a fault, too.
      wrong = walk;
      Case::Entry last = walk.asked.entries.back();
      const auto left = std::ranges::find(wrong.left, last.address, &Case::Entry::address);
      if (left != wrong.left.end()) last = *left;
      std::erase_if(wrong.left, [&](const auto& entry) { return entry.address == last.address; });
      last.value ^= 0x40;
      wrong.left.push_back(last);
      ASSERT_TRUE(replay(wrong, memory));
      ++dirty;
    }
  }
  EXPECT_GT(results, 100U);
  EXPECT_GT(flags, 20U);
  EXPECT_GT(dirty, 20U);
}

TEST(GoldenWalks, TextAndWalkAreTheSame) {
  for (const auto& path : files()) {
    const std::string text = contents(path);
    std::string again = text.substr(0, text.find("walk 1\n"));
    unsigned number = 0;
    for (const RecordedWalk& walk : walks_of(text)) again += to_text(walk, ++number);
    EXPECT_TRUE(text == again) << path;
  }
}

TEST(GoldenWalks, AMalformedFileIsRefused) {
  const std::string good =
      "walk 1\nstate 4-level MAXPHYADDR=40 CR3=0x10000 WP PKE PKS PKRU=0x1 PKRS=0x2\n"
      "ask write user 0x1000\nentry 4 0x10000 0x11007\nkvm page-fault 0x6\nleft 4 0x10000 "
      "0x11027\n";
  ASSERT_EQ(walks_of(good).size(), 1U);
  EXPECT_EQ(to_text(walks_of(good)[0], 1), good + "\n");
  const std::pair<const char*, const char*> kChanges[] = {
      {"walk 1\n", ""},
      {"state", "stat"},
      {"4-level", "3-level"},
      {"MAXPHYADDR=40", "MAXPHYADDR=53"},
      {"MAXPHYADDR=40", "40"},
      {"CR3=0x10000 WP", "CR3=0x10000 WQ"},
      {"PKRU=0x1", "PKRU=x"},
      {"write user", "modify user"},
      {"write user", "write root"},
      {"0x1000\n", "0x1000 0\n"},
      {"entry 4", "entry 6"},
      {"0x10000 0x11007", "0x10001 0x11007"},
      {"0x10000 0x11007", "0x10000"},
      {"page-fault 0x6", "page-fault"},
      {"page-fault 0x6", "page-fault 0x6 0x6"},
      {"page-fault", "panic"},
      {"kvm page-fault 0x6\n", ""},
      {"left 4 0x10000", "left 4 zero"},
      {"ask write user 0x1000\n", ""},
      {"kvm page-fault 0x6\nleft 4 0x10000 0x11027\n", ""},
  };
  for (const auto& [from, to] : kChanges) {
    std::string bad = good;
    const std::size_t at = bad.find(from);
    ASSERT_NE(at, bad.npos) << from;
    bad.replace(at, std::string_view(from).size(), to);
    EXPECT_TRUE(std::holds_alternative<std::string>(parse_recording(bad))) << from << " -> " << to;
  }
}

}  // namespace
}  // namespace nestor::emu::native
