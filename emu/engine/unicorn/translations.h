// SPDX-License-Identifier: GPL-2.0-or-later
//
// What Unicorn has translated: where the next block ends that it translates, and how much it keeps.
// Code that executes once would fill memory otherwise: each block leaves its translation, and an
// entry in a table of the block hook that outlives it.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <optional>

namespace nestor::emu {

class Translations {
 public:
  struct Limits {
    // Of translated code: where it is full, Unicorn drops all of it by itself.
    uint32_t bytes = 128u << 20;
    // That were translated since the last drop().
    uint32_t blocks = 1u << 18;
  };
  using BlockHook = void (*)(uc_engine*, uint64_t linear, uint32_t size, void* user);

  // `uc` was opened and nothing else; it outlives this object, or is closed and not used by it.
  explicit Translations(uc_engine* uc) : Translations(uc, Limits{}) {}
  Translations(uc_engine* uc, const Limits& limits);

  // Calls `hook` where a block begins. false: Unicorn refuses.
  bool hook_blocks(BlockHook hook, void* user);

  // A block was translated; the next one ends where it will.
  void note_translated() {
    end_before(std::nullopt);
    ++blocks_;
  }
  bool are_full() const { return blocks_ >= limits_.blocks; }
  // Between runs: drops all of them. Asks for the page of each once more; all answers are right,
  // if the TLB is flushed before and behind.
  void drop();

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

  void end_before(std::optional<uint64_t> linear);

  uc_engine* uc_;
  const Limits limits_;
  BlockHook hook_ = nullptr;
  void* user_ = nullptr;
  uc_hook handle_ = 0;
  uint32_t blocks_ = 0;
  Again again_;
  std::optional<uint64_t> end_;
};

}  // namespace nestor::emu
