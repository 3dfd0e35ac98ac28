// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the engine's TLB was told since it was last emptied. The engine forgets entries when its TLB
// is full, and how large that is depends on the host's clock; a page that was granted once is
// granted again as it was, at no cost in virtual time and with no second walk, so that the guest
// cannot see when the engine forgets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "emu/engine/tlb_grant.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class FillCache {
 public:
  // All that decides a grant while translations are cached. `ac`: an access by the supervisor that
  // SMAP would forbid with RFLAGS.AC = 0.
  static constexpr uint64_t key(uint64_t linear, FillAccess access, bool user, bool ac) {
    return (linear >> 12) << kPageAt | static_cast<uint64_t>(access) << kAccessAt |
           (user ? 4u : 0u) | (ac ? 2u : 0u) | 1u;
  }

  // Page aligned.
  static constexpr uint64_t linear_of(uint64_t key) { return key >> kPageAt << 12; }

  // nullptr: not granted yet.
  const TlbGrant* find(uint64_t key) const {
    for (size_t i = first(key);; i = (i + 1) & (entries_.size() - 1)) {
      const Entry& entry = entries_[i];
      if (entry.epoch != epoch_) return nullptr;
      if (entry.key == key) return &entry.grant;
    }
  }
  // The grant of the access in `key`, or of another one that allows this too: the engine does not
  // ask then, unless it has forgotten. nullptr: there is none.
  const TlbGrant* find_allowing(uint64_t key) const {
    const auto access = static_cast<FillAccess>((key & kAccess) >> kAccessAt);
    const Entry* found = nullptr;
    for (size_t i = first(key);; i = (i + 1) & (entries_.size() - 1)) {
      const Entry& entry = entries_[i];
      if (entry.epoch != epoch_) return found != nullptr ? &found->grant : nullptr;
      if (entry.key == key) return &entry.grant;
      // Of several, the one with the lowest key, in whatever order they came.
      if (((entry.key ^ key) & ~kAccess) == 0 && entry.grant.allows(access) &&
          (found == nullptr || entry.key < found->key)) {
        found = &entry;
      }
    }
  }
  // `key` is not in it yet.
  void insert(uint64_t key, const TlbGrant& grant) {
    if (2 * (count_ + 1) > entries_.size()) grow();
    place({key, epoch_, grant});
    ++count_;
  }
  void clear() {
    ++epoch_;
    count_ = 0;
  }

  struct Fill {
    uint64_t key = 0;
    TlbGrant grant{};
    void fields(Archive& archive) { archive(key, grant); }
  };
  // In the order of their keys.
  std::vector<Fill> all() const {
    std::vector<Fill> fills;
    for (const Entry& entry : entries_) {
      if (entry.epoch == epoch_) fills.push_back({entry.key, entry.grant});
    }
    std::ranges::sort(fills, {}, &Fill::key);
    return fills;
  }
  void serialize(Archive& archive) {
    // More than a guest comes to: each took a walk.
    constexpr size_t kMost = size_t{1} << 22;
    std::vector<Fill> fills = all();
    archive.sequence(fills, kMost);
    if (!archive.loads()) return;
    clear();
    for (const Fill& fill : fills) {
      archive.require(archive.ok() && is_spread(fill.key) && find(fill.key) == nullptr);
      if (archive.ok()) insert(fill.key, fill.grant);
    }
  }

 private:
  static constexpr unsigned kAccessAt = 3, kPageAt = 5;
  static constexpr uint64_t kAccess = 3u << kAccessAt;

  struct Entry {
    uint64_t key = 0, epoch = 0;
    TlbGrant grant;
  };

  // The accesses to one page stand together, and so do neighbouring pages: who walks through memory
  // finds them in the host's cache.
  size_t first(uint64_t key) const {
    constexpr unsigned kTogether = 3;  // a power of two
    const uint64_t group =
        key >> (kPageAt + kTogether) << kAccessAt | (key & ~(~0ull << kAccessAt));
    const uint64_t spread = group * 0x9e3779b97f4a7c15 >> (64 + kTogether - size_log2_);
    return static_cast<size_t>(spread << kTogether | (key >> kPageAt & ~(~0ull << kTogether)));
  }
  // Few others are in the place of `key` and behind it, unless somebody has chosen them so.
  bool is_spread(uint64_t key) const {
    constexpr size_t kMost = 1 << 10;
    size_t i = first(key), others = 0;
    while (entries_[i].epoch == epoch_ && others != kMost) {
      i = (i + 1) & (entries_.size() - 1);
      ++others;
    }
    return others != kMost;
  }
  void place(const Entry& entry) {
    size_t i = first(entry.key);
    while (entries_[i].epoch == epoch_) i = (i + 1) & (entries_.size() - 1);
    entries_[i] = entry;
  }
  void grow() {
    const std::vector<Entry> before = std::move(entries_);
    entries_ = std::vector<Entry>(size_t{1} << ++size_log2_);
    for (const Entry& entry : before)
      if (entry.epoch == epoch_) place(entry);
  }

  unsigned size_log2_ = 8;
  std::vector<Entry> entries_ = std::vector<Entry>(size_t{1} << size_log2_);
  uint64_t epoch_ = 1;
  size_t count_ = 0;
};

}  // namespace nestor::emu
