// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/fill_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace nestor::emu {
namespace {

using Bytes = std::vector<uint8_t>;

TlbGrant grant_of(uint64_t physical) {
  TlbGrant grant;
  grant.physical = physical;
  grant.read = true;
  return grant;
}

TEST(FillCache, TellsApartWhatDecidesAGrant) {
  const uint64_t keys[] = {
      FillCache::key(0x1000, FillAccess::kRead, false, false),
      FillCache::key(0x1000, FillAccess::kWrite, false, false),
      FillCache::key(0x1000, FillAccess::kFetch, false, false),
      FillCache::key(0x1000, FillAccess::kRead, true, false),
      FillCache::key(0x1000, FillAccess::kRead, false, true),
      FillCache::key(0x2000, FillAccess::kRead, false, false),
      FillCache::key(0xffff800000001000, FillAccess::kRead, false, false),
  };
  FillCache cache;
  uint64_t physical = 0x10000;
  for (const uint64_t key : keys) {
    EXPECT_EQ(cache.find(key), nullptr);
    cache.insert(key, grant_of(physical));
    physical += 0x1000;
  }
  physical = 0x10000;
  for (const uint64_t key : keys) {
    ASSERT_NE(cache.find(key), nullptr);
    EXPECT_EQ(cache.find(key)->physical, physical);
    physical += 0x1000;
  }
  // The offset into the page does not count.
  EXPECT_EQ(FillCache::key(0x1fff, FillAccess::kRead, false, false), keys[0]);
}

TEST(FillCache, FindsAGrantOfAnotherAccessThatAllowsThisOne) {
  const auto key = [](FillAccess access) { return FillCache::key(0x1000, access, false, false); };
  const uint64_t read = key(FillAccess::kRead), write = key(FillAccess::kWrite),
                 fetch = key(FillAccess::kFetch);
  TlbGrant to_write = grant_of(0x2000), to_fetch = grant_of(0x3000);
  to_write.write = true;
  to_fetch.execute = true;
  FillCache cache, other_order;
  cache.insert(write, to_write);
  EXPECT_EQ(cache.find_allowing(fetch), nullptr);
  EXPECT_EQ(cache.find(read), nullptr);
  ASSERT_NE(cache.find_allowing(read), nullptr);
  EXPECT_EQ(cache.find_allowing(read)->physical, 0x2000u);
  cache.insert(fetch, to_fetch);
  EXPECT_EQ(cache.find_allowing(fetch)->physical, 0x3000u);
  // Of several it is always the same one, and one's own before all others.
  other_order.insert(fetch, to_fetch);
  other_order.insert(write, to_write);
  EXPECT_EQ(cache.find_allowing(read)->physical, 0x2000u);
  EXPECT_EQ(other_order.find_allowing(read)->physical, 0x2000u);
  cache.insert(read, grant_of(0x4000));
  EXPECT_EQ(cache.find_allowing(read)->physical, 0x4000u);
  // Of another page, user or with RFLAGS.AC: none.
  EXPECT_EQ(cache.find_allowing(FillCache::key(0x2000, FillAccess::kRead, false, false)), nullptr);
  EXPECT_EQ(cache.find_allowing(FillCache::key(0x1000, FillAccess::kRead, true, false)), nullptr);
  EXPECT_EQ(cache.find_allowing(FillCache::key(0x1000, FillAccess::kRead, false, true)), nullptr);
}

TEST(FillCache, KeepsAllUntilItIsCleared) {
  std::mt19937_64 random(7);
  FillCache cache;
  for (int round = 0; round != 20; ++round) {
    std::map<uint64_t, uint64_t> model;
    const auto pages = static_cast<unsigned>(random() % 3000);
    for (unsigned i = 0; i != pages; ++i) {
      const uint64_t key =
          FillCache::key((random() % 0x100000) << 12, static_cast<FillAccess>(random() % 3),
                         random() % 2, random() % 2);
      ASSERT_EQ(cache.find(key) != nullptr, model.contains(key));
      if (model.contains(key)) continue;
      model[key] = random() << 12;
      cache.insert(key, grant_of(model[key]));
    }
    for (const auto& [key, physical] : model) {
      ASSERT_NE(cache.find(key), nullptr);
      ASSERT_EQ(cache.find(key)->physical, physical);
    }
    cache.clear();
    for (const auto& [key, physical] : model) ASSERT_EQ(cache.find(key), nullptr);
  }
}

Bytes saved(std::vector<FillCache::Fill> fills) {
  return saved_bytes([&](Archive& archive) { archive.sequence(fills, fills.size()); });
}

TEST(FillCache, IsLoadedAsItWasSaved) {
  FillCache cache, loaded;
  for (uint64_t page = 0; page != 1000; ++page) {
    cache.insert(FillCache::key(page << 12, FillAccess::kRead, false, false), grant_of(page << 13));
  }
  loaded.insert(FillCache::key(1ull << 40, FillAccess::kRead, false, false), grant_of(0));
  const Bytes state = saved_bytes([&](Archive& archive) { cache.serialize(archive); });
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { loaded.serialize(archive); }));
  EXPECT_EQ(loaded.all().size(), 1000u);
  EXPECT_EQ(saved_bytes([&](Archive& archive) { loaded.serialize(archive); }), state);
}

TEST(FillCache, RefusesFillsThatTakeForEver) {
  FillCache cache;
  const auto load = [&](const Bytes& state) {
    return load_bytes(state, [&](Archive& archive) { cache.serialize(archive); });
  };
  EXPECT_FALSE(load(saved({{1, grant_of(0)}, {1, grant_of(0)}})));  // the same twice
  // Keys that meet in one place, however large the table is.
  std::vector<FillCache::Fill> fills;
  for (uint64_t page = 0; fills.size() != 1100; page += 8) {
    if (((page | 1) * 0x9e3779b97f4a7c15) >> 55 == 0)
      fills.push_back({FillCache::key(page << 12, FillAccess::kRead, false, false), grant_of(0)});
  }
  EXPECT_FALSE(load(saved(fills)));
  fills.resize(100);
  EXPECT_TRUE(load(saved(fills)));
}

}  // namespace
}  // namespace nestor::emu
