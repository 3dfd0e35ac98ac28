// SPDX-License-Identifier: GPL-2.0-or-later
//
// How many instructions the blocks hold that an engine has executed in one address space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nestor::emu {

// A block of code that is executed from its first instruction to its last, unless something stops
// it: `size` bytes at `linear`.
struct Block {
  // No block starts at a non-canonical address.
  static constexpr uint64_t kNone = 0x8000'0000'0000'0001;

  // Instead of `linear`: the engine stops before it, each time.
  static constexpr uint64_t stopping(uint64_t linear) { return ~linear; }

  uint64_t linear = kNone;
  uint64_t tag = 0;  // of the address space and the mode
  uint32_t size = 0, instructions = 0;
  // How many instructions stand before an offset; the last answer.
  uint32_t offset = 0, before = 0;
};

// Remembers some: a block goes where its address says, in the place of another.
class BlockTable {
 public:
  Block& at(uint64_t linear) { return blocks_[(linear ^ (linear >> 14)) & (kBlocks - 1)]; }

  void clear() { blocks_.assign(kBlocks, Block{}); }

 private:
  static constexpr size_t kBlocks = 1u << 14;
  std::vector<Block> blocks_ = std::vector<Block>(kBlocks);
};

}  // namespace nestor::emu
