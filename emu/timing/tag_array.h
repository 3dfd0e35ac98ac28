// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a cache of sets and ways holds, without what is cached. The one that was used longest ago in
// its set makes room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nestor::emu::timing {

struct CacheSize {
  uint16_t sets = 1, ways = 1;
};

template <typename Entry>
class TagArray {
 public:
  explicit TagArray(CacheSize size) : size_(size), sets_(size.sets) {}

  // The one that `fits`, which is then the last one that was used; null: there is none.
  template <typename Fits>
  Entry* find(uint64_t set, const Fits& fits) {
    std::vector<Entry>& ways = sets_[set % size_.sets];
    const auto found = std::ranges::find_if(ways, fits);
    if (found == ways.end()) return nullptr;
    std::rotate(ways.begin(), found, found + 1);
    return &ways.front();
  }
  // It is in no way yet. Nothing happens where there are none.
  void insert(uint64_t set, const Entry& entry) {
    if (size_.ways == 0) return;
    std::vector<Entry>& ways = sets_[set % size_.sets];
    if (ways.size() == size_.ways) ways.pop_back();
    ways.insert(ways.begin(), entry);
  }
  template <typename Goes>
  void erase(const Goes& goes) {
    for (std::vector<Entry>& ways : sets_) std::erase_if(ways, goes);
  }

  template <typename Archive>
  void serialize(Archive& archive) {
    for (std::vector<Entry>& ways : sets_) archive.sequence(ways, size_.ways);
  }

 private:
  CacheSize size_;
  std::vector<std::vector<Entry>> sets_;  // the last one that was used first
};

}  // namespace nestor::emu::timing
