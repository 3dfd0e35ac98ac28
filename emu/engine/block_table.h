// SPDX-License-Identifier: GPL-2.0-or-later
//
// How many instructions the blocks hold that an engine has executed in one address space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "emu/engine/entry_condition.h"

namespace nestor::emu {

// A block of code that is executed from its first instruction to its last, unless something stops
// it: `size` bytes at `linear`.
struct Block {
  // No block starts at a non-canonical address.
  static constexpr uint64_t kNone = 0x8000'0000'0000'0001;

  // Instead of `linear`, so that few look further: the engine stops before it, each time; or only
  // if its conditions do not hold. None of these is a canonical address.
  static constexpr uint64_t stopping(uint64_t linear) { return linear ^ 1ull << 62; }
  // Its instructions are counted, and nothing else is known of it yet.
  static constexpr uint64_t translated(uint64_t linear) { return linear ^ 1ull << 60; }
  static constexpr uint64_t conditional(uint64_t linear) { return linear ^ 1ull << 61; }

  // Whatever is known of it.
  bool is_at(uint64_t address) const { return ((linear ^ address) & ~(7ull << 60)) == 0; }

  uint64_t linear = kNone;
  uint64_t tag = 0;  // of the address space and the mode
  uint32_t size = 0, instructions = 0;
  // How many instructions stand before an offset; the last answer.
  uint32_t offset = 0, before = 0;
};

// Remembers some: a block goes where its address says, in the place of another.
class BlockTable {
 public:
  Block& at(uint64_t linear) { return blocks_[place_of(linear)]; }

  void clear() {
    blocks_.assign(kBlocks, Block{});
    conditions_.clear();
    pages_.assign(kPages, Page{});
  }

  // Code of the page at `linear`, in the address space of `tag`, comes from `physical` from now on;
  // both are page aligned. Blocks that were found in another page are forgotten: what the engine
  // has translated from this one may be of the same size.
  void set_page(uint64_t linear, uint64_t tag, uint64_t physical) {
    const uint64_t key = linear ^ (tag * 0x9e3779b97f4a7c15);
    Page& page = pages_[((key >> 12) ^ (key >> 40)) % kPages];
    if (page.key == key && page.physical == physical) return;
    page = {key, physical};
    forget(linear);
  }

  // Of the block that is where `linear` goes.
  void set_conditions(uint64_t linear, const EntryConditions& conditions) {
    condition_ranges_.resize(kBlocks);
    condition_ranges_[place_of(linear)] = {conditions_.size(), conditions.size()};
    conditions_.insert(conditions_.end(), conditions.begin(), conditions.end());
  }
  std::span<const EntryCondition> conditions(uint64_t linear) const {
    const Range& range = condition_ranges_[place_of(linear)];
    return std::span(conditions_).subspan(range.first, range.count);
  }
  // Those of blocks that were replaced are kept until then.
  bool is_full() const { return conditions_.size() > kMostConditions; }

 private:
  static constexpr size_t kBlocks = 1u << 14;
  static constexpr size_t kMostConditions = 1u << 18;
  static constexpr size_t kPages = 1u << 13;
  static constexpr uint64_t kPageSize = 4096;
  struct Page {
    uint64_t key = 0, physical = 1;
  };
  struct Range {
    size_t first = 0, count = 0;
  };
  // What has a byte on the page, if it began there or on the page before.
  void forget(uint64_t page) {
    for (uint64_t linear = page - kPageSize; linear != page + kPageSize; ++linear) {
      Block& block = at(linear);
      if (block.is_at(linear) && linear + block.size - page - 1 < kPageSize + block.size)
        block = Block{};
    }
  }
  static constexpr size_t place_of(uint64_t linear) {
    return (linear ^ (linear >> 14)) & (kBlocks - 1);
  }

  EntryConditions conditions_;
  std::vector<Range> condition_ranges_;  // by place; empty where there were never any
  std::vector<Page> pages_ = std::vector<Page>(kPages);  // of others nothing is known
  std::vector<Block> blocks_ = std::vector<Block>(kBlocks);
};

}  // namespace nestor::emu
