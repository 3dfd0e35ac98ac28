// SPDX-License-Identifier: GPL-2.0-or-later
//
// What Unicorn has translated: what is known of each block, where the next block ends that it
// translates, and how much it keeps. Code that executes once would fill memory otherwise: each
// block leaves its translation, its record, and an entry in a table of the block hook that outlives
// it.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <span>

#include "emu/engine/entry_condition.h"

namespace nestor::emu {

namespace timing {
struct PricedBlock;
}

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
  uint64_t tag = 0;  // of the mode in which that is so
  uint32_t size = 0, instructions = 0;
  // How many instructions stand before an offset; the last answer.
  uint32_t offset = 0, before = 0;
};

// Belongs to one translation for good: its code hands the record to the block hook. Two
// translations of the same linear addresses, from different pages or for different modes, have
// different records.
struct alignas(64) BlockRecord {
  Block block;
  void* user = nullptr;  // what hook_blocks() was given
  uint32_t first_condition = 0, conditions = 0;
  timing::PricedBlock* price = nullptr;  // where blocks are reported, once it was examined
};

class Translations {
 public:
  struct Limits {
    // Of translated code: where it is full, Unicorn drops all of it by itself.
    uint32_t bytes = 128u << 20;
    // That were translated since the last drop().
    uint32_t blocks = 1u << 18;
    // Entry conditions of all of them, those included that were stated anew.
    uint32_t conditions = 1u << 18;
  };
  using BlockHook = void (*)(uc_engine*, uint64_t linear, uint32_t size, void* record);

  // `uc` was opened and nothing else; it outlives this object, or is closed and not used by it.
  explicit Translations(uc_engine* uc) : Translations(uc, Limits{}) {}
  Translations(uc_engine* uc, const Limits& limits);

  // Calls `hook` where a block begins, with the BlockRecord of its translation. false: Unicorn
  // refuses, or keeps what it hands to hooks where it cannot be found.
  bool hook_blocks(BlockHook hook, void* user);

  // A block was translated. Its record, of which nothing is known; the next one ends where it will.
  BlockRecord& note_translated() {
    BlockRecord& record = *next_;
    offer_next();
    end_before(std::nullopt);
    ++blocks_;
    return record;
  }
  // Unicorn says nothing of its first translation. When a run begins, and when a block is entered
  // of which nothing is known, so that no other block gets its record.
  void begin_run() {
    if (blocks_ == 0) offer_next();
  }
  void note_entered(const BlockRecord& record) {
    if (&record == next_) offer_next();
  }
  bool are_full() const {
    return blocks_ >= limits_.blocks || conditions_.size() >= limits_.conditions;
  }
  // Between runs: drops all of them, with their records. Asks for the page of each once more; all
  // answers are right, if the TLB is flushed before and behind.
  void drop();

  void set_conditions(BlockRecord& record, const EntryConditions& conditions) {
    record.first_condition = static_cast<uint32_t>(conditions_.size());
    record.conditions = static_cast<uint32_t>(conditions.size());
    conditions_.insert(conditions_.end(), conditions.begin(), conditions.end());
  }
  std::span<const EntryCondition> conditions(const BlockRecord& record) const {
    return std::span(conditions_).subspan(record.first_condition, record.conditions);
  }

  // The block at `linear` is to end before `end`.
  void ask_again(uint64_t linear, uint64_t end) { again_ = {linear, end}; }
  // Between runs: drops that block, and the next translation ends there.
  void translate_again();
  // It has an HLT there, whatever stands in memory.
  bool ends_before(uint64_t linear) const { return end_ == linear; }

 private:
  struct Again {
    uint64_t linear = 0, end = 0;
  };

  bool add_hook();
  void end_before(std::optional<uint64_t> linear);
  // The next translation gets a new record.
  void offer_next() {
    next_ = &records_.emplace_back();
    next_->user = user_;
    *slot_ = next_;
  }

  uc_engine* uc_;
  const Limits limits_;
  BlockHook hook_ = nullptr;
  void* user_ = nullptr;
  uc_hook handle_ = 0;
  void** slot_ = nullptr;  // where Unicorn has what the code that it translates hands to the hook
  std::deque<BlockRecord> records_;
  BlockRecord* next_ = nullptr;  // that is in the slot
  EntryConditions conditions_;
  uint32_t blocks_ = 0;
  Again again_;
  std::optional<uint64_t> end_;
};

}  // namespace nestor::emu
