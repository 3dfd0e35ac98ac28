// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which lines of memory the caches of a processor hold: two first-level caches, for data and for
// code, and two levels that have both. A line that is missed comes into all levels on its way, and
// what makes room is the line of its set that was used longest ago. What one level forgets the
// others keep.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "emu/timing/processor.h"

namespace nestor::emu::timing {

inline constexpr unsigned kLineBits = 6;

// The line numbers that one cache holds. The sets are a power of two.
class LineCache {
 public:
  explicit LineCache(CacheSize size)
      : ways_(size.ways), mask_(size.sets - 1u), tags_(size_t{size.sets} * size.ways) {}

  // Whether the line is there; it is from now on.
  bool use(uint64_t line) {
    uint64_t* const set = &tags_[(line & mask_) * ways_];
    if (*set == tag_of(line)) return true;
    return use_another(set, line);
  }
  bool holds(uint64_t line) const {
    const uint64_t* const set = &tags_[(line & mask_) * ways_];
    return std::find(set, set + ways_, tag_of(line)) != set + ways_;
  }
  void drop(uint64_t line) {
    uint64_t* const set = &tags_[(line & mask_) * ways_];
    uint64_t* const found = std::find(set, set + ways_, tag_of(line));
    if (found == set + ways_) return;
    std::move(found + 1, set + ways_, found);
    set[ways_ - 1] = 0;
  }
  void clear() { std::ranges::fill(tags_, uint64_t{0}); }

  // Only sets that hold something.
  template <typename Archive>
  void serialize(Archive& archive) {
    std::vector<Held> held;
    if (!archive.loads()) {
      for (size_t i = 0; i < tags_.size(); ++i)
        if (tags_[i] != 0) held.push_back({static_cast<uint32_t>(i), tags_[i]});
    }
    archive.sequence(held, tags_.size());
    if (!archive.loads()) return;
    clear();
    for (const Held& one : held) {
      const bool fits = one.at < tags_.size() && one.tag != 0 && tags_[one.at] == 0 &&
                        ((one.tag - 1) & mask_) == one.at / ways_ && !holds(one.tag - 1);
      archive.require(fits);
      if (fits) tags_[one.at] = one.tag;
    }
  }

 private:
  struct Held {
    uint32_t at = 0;
    uint64_t tag = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(at, tag);
    }
  };

  static constexpr uint64_t tag_of(uint64_t line) { return line + 1; }  // 0: nothing is there
  bool use_another(uint64_t* set, uint64_t line) {
    uint64_t* const end = set + ways_;
    uint64_t* found = std::find(set + 1, end, tag_of(line));
    const bool held = found != end;
    if (!held) --found;
    std::move_backward(set, found, found + 1);
    *set = tag_of(line);
    return held;
  }

  size_t ways_;
  uint64_t mask_;
  std::vector<uint64_t> tags_;  // set by set, the line that was used last first
};

// Where what is accessed was found.
enum class CacheLevel : uint8_t { kFirst, kSecond, kThird, kMemory };

class Caches {
 public:
  explicit Caches(const Processor::Memory& memory)
      : data_(memory.first_cache),
        code_(memory.code_cache),
        second_(memory.second_cache),
        third_(memory.third_cache) {}

  // Requests to each level below the first. Counts there from now on; to be called first.
  struct Counts {
    uint64_t second = 0, third = 0, memory = 0;
    void operator+=(const Counts& other) {
      second += other.second;
      third += other.third;
      memory += other.memory;
    }
  };
  void count_in(Counts& counts) { counts_ = &counts; }

  // By the number of the line; it is in all levels from now on.
  CacheLevel use_data(uint64_t line) {
    return data_.use(line) ? CacheLevel::kFirst : below_first(line);
  }
  CacheLevel use_code(uint64_t line) {
    return code_.use(line) ? CacheLevel::kFirst : below_first(line);
  }
  void drop(uint64_t line) {
    for (LineCache* cache : {&data_, &code_, &second_, &third_}) cache->drop(line);
  }
  void clear() {
    for (LineCache* cache : {&data_, &code_, &second_, &third_}) cache->clear();
  }

  template <typename Archive>
  void serialize(Archive& archive) {
    for (LineCache* cache : {&data_, &code_, &second_, &third_}) cache->serialize(archive);
  }

 private:
  CacheLevel below_first(uint64_t line) {
    ++counts_->second;
    if (second_.use(line)) return CacheLevel::kSecond;
    ++counts_->third;
    if (third_.use(line)) return CacheLevel::kThird;
    ++counts_->memory;
    return CacheLevel::kMemory;
  }

  LineCache data_, code_, second_, third_;
  Counts* counts_ = nullptr;
};

// Cycles from the address of a load to its data.
inline uint16_t cycles_of(CacheLevel level, const Processor::Memory& memory) {
  switch (level) {
    case CacheLevel::kFirst:
      return memory.first_cache_cycles;
    case CacheLevel::kSecond:
      return memory.second_cache_cycles;
    case CacheLevel::kThird:
      return memory.third_cache_cycles;
    case CacheLevel::kMemory:
      break;
  }
  return memory.memory_cycles;
}

}  // namespace nestor::emu::timing
