// SPDX-License-Identifier: MIT

// The cache of translations against a naive one: a list, and for each operation the manual's
// sentence as a predicate.

#include "ept/translation_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace nestor::ept::testing {
namespace {

using Kind = Invalidation::Kind;

constexpr std::array kAllKinds = {
    Kind::kLinearAddress,
    Kind::kPcidAddress,
    Kind::kPcid,
    Kind::kPcidAndGlobals,
    Kind::kVpidAddress,
    Kind::kLinearVpid,
    Kind::kVpidRetainingGlobals,
    Kind::kAllVpids,
    Kind::kPageFault,
    Kind::kEptViolation,
    Kind::kGuestPhysicalEptp,
    Kind::kAllEptps,
    Kind::kAll,
    Kind::kAccessRights,
};
static_assert(kAllKinds.size() == kInvalidationRules.size());

// --- the manual, sentence by sentence

bool is_linear(const MappingKey& m) { return m.tag.kind == MappingKind::kLinear; }
bool is_combined(const MappingKey& m) { return m.tag.kind == MappingKind::kCombined; }
bool is_guest_physical(const MappingKey& m) { return m.tag.kind == MappingKind::kGuestPhysical; }
bool is_table(const MappingKey& m) { return m.role == MappingRole::kTable; }
bool is_global_translation(const MappingKey& m) { return m.global && !is_table(m); }
bool translates(const MappingKey& m, std::uint64_t address) {
  const std::uint64_t size = std::uint64_t{1} << m.size_bits;
  return address >= m.input && address - m.input < size;
}

// "They are required to do so only for the current VPID (but, for combined mappings, all EPTRTAs)."
bool belongs_to_vpid(const MappingKey& m, const Invalidation& i) {
  return !is_guest_physical(m) && m.tag.vpid == i.vpid;
}

bool must_go(const Invalidation& i, const MappingKey& m) {
  const std::uint64_t root = i.eptp & 0xf'ffff'ffff'f000;
  switch (i.kind) {
    case Kind::kLinearAddress:
      // TLB entries for the page number with the current PCID, global ones with any; all entries in
      // all paging-structure caches with the current PCID.
      if (!belongs_to_vpid(m, i)) return false;
      if (is_table(m)) return m.tag.pcid == i.pcid;
      return translates(m, i.linear) && (m.tag.pcid == i.pcid || m.global);
    case Kind::kPcidAddress:
      // Mappings, except global translations, of the PCID that translate the address.
      return belongs_to_vpid(m, i) && m.tag.pcid == i.pcid && translates(m, i.linear) &&
             !is_global_translation(m);
    case Kind::kPcid:
      // All mappings, except global translations, of the PCID.
      return belongs_to_vpid(m, i) && m.tag.pcid == i.pcid && !is_global_translation(m);
    case Kind::kPcidAndGlobals:
      // All TLB entries and all entries in all paging-structure caches for the current PCID.
      return belongs_to_vpid(m, i) && (m.tag.pcid == i.pcid || is_global_translation(m));
    case Kind::kVpidAddress:
      // The VPID and the linear address, for all PCIDs.
      return belongs_to_vpid(m, i) && translates(m, i.linear);
    case Kind::kLinearVpid:
      return belongs_to_vpid(m, i);
    case Kind::kVpidRetainingGlobals:
      return belongs_to_vpid(m, i) && !is_global_translation(m);
    case Kind::kAllVpids:
      return !is_guest_physical(m) && m.tag.vpid != 0;
    case Kind::kPageFault:
      // Entries for the page number, or used for the linear address, of the current PCID; a global
      // one is used with it whatever its own is.
      return belongs_to_vpid(m, i) && translates(m, i.linear) &&
             (m.tag.pcid == i.pcid || is_global_translation(m));
    case Kind::kEptViolation:
      if (is_guest_physical(m)) return m.tag.ept_root == root && translates(m, i.guest_physical);
      return is_combined(m) && i.linear_translated && m.tag.ept_root == root &&
             m.tag.vpid == i.vpid && translates(m, i.linear) &&
             (m.tag.pcid == i.pcid || is_global_translation(m));
    case Kind::kGuestPhysicalEptp:
      return !is_linear(m) && m.tag.ept_root == root;
    case Kind::kAllEptps:
      return !is_linear(m);
    case Kind::kAll:
      return true;
    case Kind::kAccessRights:
      return false;
  }
  return false;
}

// --- mappings and invalidations of a small world, so that they meet

constexpr std::array<std::uint16_t, 3> kVpids = {0, 1, 2}, kPcids = {0, 1, 2};
constexpr std::array<std::uint64_t, 2> kRoots = {0x10000, 0x11000};
constexpr std::array<std::uint8_t, 3> kSizes = {12, 21, 30};
constexpr std::array<std::uint64_t, 4> kAddresses = {0, 0x1000, 0x20'1000, 0x4020'1000};

/// Calls `use(key)` for every combination of tags, sizes and addresses.
template <class Use>
void for_every_mapping(const Use& use) {
  for (const auto kind :
       {MappingKind::kLinear, MappingKind::kGuestPhysical, MappingKind::kCombined})
    for (const auto role : {MappingRole::kTranslation, MappingRole::kTable})
      for (const bool global : {false, true})
        for (const auto vpid : kVpids)
          for (const auto pcid : kPcids)
            for (const auto root : kRoots)
              for (const auto size : kSizes)
                for (const auto address : kAddresses) {
                  const bool guest_physical = kind == MappingKind::kGuestPhysical;
                  if (guest_physical && (vpid != 0 || pcid != 0 || global)) continue;
                  if (kind == MappingKind::kLinear && root != kRoots[0]) continue;
                  if (role == MappingRole::kTable && (global || size == 12)) continue;
                  MappingKey key;
                  key.tag = {kind, true, vpid, pcid, kind == MappingKind::kLinear ? 0 : root};
                  key.role = role;
                  key.global = global;
                  key.size_bits = size;
                  key.input = address & ~low_bits(size);
                  use(key);
                }
}

template <class Use>
void for_every_invalidation(const Use& use) {
  for (const Kind kind : kAllKinds)
    for (const auto vpid : kVpids)
      for (const auto pcid : kPcids)
        for (const auto root : kRoots)
          for (const auto linear : kAddresses)
            for (const auto guest_physical : kAddresses)
              for (const bool translated : {false, true}) {
                Invalidation what;
                what.kind = kind;
                what.vpid = vpid;
                what.pcid = pcid;
                what.eptp = root | 0x5e;  // what EPTP bits 11:0 hold does not count
                what.linear = linear + 0x123;
                what.guest_physical = guest_physical + 0x456;
                what.linear_translated = translated;
                use(what);
              }
}

TEST(Invalidations, DropExactlyWhatTheManualSays) {
  std::size_t pairs = 0, wrong = 0;
  std::array<std::size_t, kAllKinds.size()> dropped{}, kept{};
  for_every_invalidation([&](const Invalidation& what) {
    for_every_mapping([&](const MappingKey& key) {
      const bool goes = must_go(what, key);
      ++pairs;
      wrong += invalidates(what, key) != goes;
      ++(goes ? dropped : kept)[static_cast<std::size_t>(what.kind)];
    });
  });
  EXPECT_EQ(wrong, 0u) << "of " << pairs;
  EXPECT_GT(pairs, 1'000'000u);
  for (const Kind kind : kAllKinds) {
    const auto i = static_cast<std::size_t>(kind);
    EXPECT_EQ(dropped[i] == 0, kind == Kind::kAccessRights) << i;
    EXPECT_EQ(kept[i] == 0, kind == Kind::kAll) << i;
  }
}

/// What an invalidation or a mapping does not say is 0, and an invalidation of nothing is of all.
TEST(Invalidations, NameNothingUnlessTold) {
  const Invalidation what;
  EXPECT_EQ(what.kind, Kind::kAll);
  EXPECT_EQ(what.vpid, 0);
  EXPECT_EQ(what.pcid, 0);
  EXPECT_EQ(what.linear, 0U);
  EXPECT_EQ(what.eptp, 0U);
  EXPECT_EQ(what.guest_physical, 0U);
  EXPECT_FALSE(what.linear_translated);
  const CachedMapping mapping;
  EXPECT_EQ(mapping.key.tag.vpid, 0);
  EXPECT_EQ(mapping.key.tag.pcid, 0);
  EXPECT_EQ(mapping.key.tag.ept_root, 0U);
  EXPECT_EQ(mapping.key.input, 0U);
  EXPECT_FALSE(mapping.key.global);
  EXPECT_EQ(mapping.table_rights, 0U);
  EXPECT_EQ(mapping.output, 0U);
  EXPECT_EQ(mapping.guest_physical, 0U);
  EXPECT_EQ(mapping.ept_rights, EptRights{});
  EXPECT_FALSE(mapping.dirty);
  EXPECT_FALSE(mapping.ignore_pat);
  EXPECT_FALSE(mapping.convertible);
  EXPECT_FALSE(mapping.paging_write);
  EXPECT_FALSE(mapping.paging_write_bit);
  EXPECT_FALSE(mapping.reported);
}

// --- the cache against a list

class NaiveCache {
 public:
  void insert(const CachedMapping& mapping) {
    std::erase_if(mappings_, [&](const CachedMapping& other) {
      return other.key.tag == mapping.key.tag && other.key.role == mapping.key.role &&
             other.key.size_bits == mapping.key.size_bits && other.key.input == mapping.key.input;
    });
    mappings_.push_back(mapping);
  }
  std::size_t invalidate(const Invalidation& what) {
    return std::erase_if(mappings_, [&](const CachedMapping& m) { return must_go(what, m.key); });
  }
  /// Every mapping that may answer; the one asked for is among them if the cache is right.
  std::vector<const CachedMapping*> usable(MappingRole role, const MappingTag& tag,
                                           std::uint64_t address, unsigned size_bits = 0) const {
    std::vector<const CachedMapping*> found;
    for (const CachedMapping& mapping : mappings_) {
      MappingTag own = mapping.key.tag;
      if (mapping.key.global) own.pcid = tag.pcid;
      if (mapping.key.role == role && own == tag && translates(mapping.key, address) &&
          (size_bits == 0 || size_bits == mapping.key.size_bits)) {
        found.push_back(&mapping);
      }
    }
    return found;
  }
  std::size_t size() const { return mappings_.size(); }

 private:
  std::vector<CachedMapping> mappings_;  // the latest last
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  template <class Array>
  auto of(const Array& values) {
    return values[engine_() % values.size()];
  }
  bool chance(unsigned one_in) { return engine_() % one_in == 0; }
  std::uint64_t number() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

MappingTag random_tag(Random& random) {
  constexpr std::array kKinds = {MappingKind::kLinear, MappingKind::kGuestPhysical,
                                 MappingKind::kCombined};
  MappingTag tag;
  tag.kind = random.of(kKinds);
  if (tag.kind != MappingKind::kGuestPhysical) {
    tag.paging = !random.chance(8);
    tag.vpid = random.of(kVpids);
    tag.pcid = random.of(kPcids);
  }
  if (tag.kind != MappingKind::kLinear) tag.ept_root = random.of(kRoots);
  return tag;
}

CachedMapping random_mapping(Random& random) {
  CachedMapping mapping;
  mapping.key.tag = random_tag(random);
  mapping.key.role = random.chance(3) ? MappingRole::kTable : MappingRole::kTranslation;
  const bool table = mapping.key.role == MappingRole::kTable;
  mapping.key.size_bits = table ? std::max<std::uint8_t>(21, random.of(kSizes)) : random.of(kSizes);
  mapping.key.global =
      !table && mapping.key.tag.kind != MappingKind::kGuestPhysical && random.chance(4);
  mapping.key.input = random.of(kAddresses) & ~low_bits(mapping.key.size_bits);
  mapping.output = random.number();
  return mapping;
}

Invalidation random_invalidation(Random& random) {
  Invalidation what;
  what.kind = random.of(kAllKinds);
  what.vpid = random.of(kVpids);
  what.pcid = random.of(kPcids);
  what.eptp = random.of(kRoots) | 0x1e;
  what.linear = random.of(kAddresses);
  what.guest_physical = random.of(kAddresses);
  what.linear_translated = random.chance(2);
  return what;
}

TEST(TranslationCache, AgreesWithAListThroughRandomOperations) {
  const auto cache = std::make_unique<TranslationCache<4096>>();
  NaiveCache naive;
  Random random(1);
  std::size_t hits = 0, misses = 0;
  for (int step = 0; step != 1'000'000; ++step) {
    if (random.chance(3)) {
      const CachedMapping mapping = random_mapping(random);
      EXPECT_EQ(cache->insert(mapping)->output, mapping.output);
      naive.insert(mapping);
    }
    if (random.chance(24)) {
      const Invalidation what = random_invalidation(random);
      ASSERT_EQ(cache->invalidate(what), naive.invalidate(what)) << "step " << step;
    }
    ASSERT_EQ(cache->size(), naive.size()) << "step " << step;

    const MappingTag tag = random_tag(random);
    const std::uint64_t address = random.of(kAddresses) + 0x10;
    const CachedMapping* found = cache->find_translation(tag, address);
    const auto usable = naive.usable(MappingRole::kTranslation, tag, address);
    ASSERT_EQ(found == nullptr, usable.empty()) << "step " << step;
    if (found != nullptr) {
      const auto best = std::ranges::min_element(
          usable.rbegin(), usable.rend(), {},
          [](const CachedMapping* mapping) { return mapping->key.size_bits; });
      ASSERT_EQ(found->output, (*best)->output) << "step " << step;
    }
    ++(found != nullptr ? hits : misses);

    const unsigned size_bits = random.of(kSizes);
    const CachedMapping* table = cache->find_table(tag, size_bits, address);
    const auto tables = naive.usable(MappingRole::kTable, tag, address, size_bits);
    ASSERT_EQ(table == nullptr, tables.empty()) << "step " << step;
    if (table != nullptr) {
      ASSERT_EQ(table->output, tables.back()->output) << "step " << step;
    }
  }
  EXPECT_GT(hits, 10'000u);
  EXPECT_GT(misses, 10'000u);
}

TEST(TranslationCache, ForgetsWhenItIsFullButNeverErrs) {
  TranslationCache<16> cache;
  NaiveCache naive;
  Random random(2);
  std::size_t hits = 0, forgotten = 0;
  for (int step = 0; step != 1'000'000; ++step) {
    const CachedMapping mapping = random_mapping(random);
    EXPECT_EQ(cache.insert(mapping)->output, mapping.output);
    naive.insert(mapping);
    if (random.chance(40)) {
      const Invalidation what = random_invalidation(random);
      (void)cache.invalidate(what);
      naive.invalidate(what);
    }
    ASSERT_LE(cache.size(), cache.capacity());
    const MappingTag tag = random_tag(random);
    const std::uint64_t address = random.of(kAddresses);
    const CachedMapping* found = cache.find_translation(tag, address);
    const auto usable = naive.usable(MappingRole::kTranslation, tag, address);
    if (found == nullptr) {
      forgotten += !usable.empty();
      continue;
    }
    ++hits;
    ASSERT_TRUE(std::ranges::any_of(
        usable, [&](const CachedMapping* mine) { return mine->output == found->output; }))
        << "step " << step;
  }
  EXPECT_GT(hits, 10'000u);
  EXPECT_GT(forgotten, 10'000u);
}

TEST(TranslationCache, ReplacesInTheOrderOfThePlaces) {
  TranslationCache<4> cache;
  CachedMapping mapping;
  for (std::uint64_t page = 0; page != 6; ++page) {
    mapping.key.input = page << 12;
    mapping.output = page;
    cache.insert(mapping);
  }
  for (std::uint64_t page = 0; page != 6; ++page) {
    const CachedMapping* found = cache.find_translation({}, page << 12 | 0x10);
    EXPECT_EQ(found != nullptr, page >= 2) << page;
    if (found != nullptr) {
      EXPECT_EQ(found->output, page);
    }
  }
}

// With too many tags, the mappings of one that was there go as a whole, and are nobody's.
TEST(TranslationCache, ForgetsATagThatMakesRoom) {
  constexpr std::uint16_t kTags = 1024;
  const auto cache = std::make_unique<TranslationCache<4 * kTags>>();
  CachedMapping mapping;
  for (std::uint16_t vpid = 0; vpid <= kTags; ++vpid) {
    mapping.key.tag.vpid = vpid;
    for (const std::uint64_t page : {1u, 2u}) {
      mapping.key.input = page << 12;
      cache->insert(mapping);
    }
  }
  EXPECT_EQ(cache->size(), 2u * kTags);
  EXPECT_EQ(cache->find_translation({}, 1 << 12), nullptr);
  EXPECT_EQ(cache->invalidate({.kind = Kind::kLinearVpid, .vpid = kTags}), 2u);
  EXPECT_EQ(cache->invalidate({.kind = Kind::kAllVpids}), 2u * kTags - 2);
  EXPECT_EQ(cache->size(), 0u);
}

}  // namespace
}  // namespace nestor::ept::testing
