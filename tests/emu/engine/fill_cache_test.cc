// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/fill_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace nestor::emu {
namespace {

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

}  // namespace
}  // namespace nestor::emu
