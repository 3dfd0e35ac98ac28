// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether the processor foresees where blocks of code lead: a gshare predictor of conditional
// branches (S. McFarling, "Combining Branch Predictors", DEC WRL TN-36, 1993), a table of the
// targets of indirect ones, and a stack of return addresses. The sizes are parameters; Intel has
// published none.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "emu/decode/instruction.h"
#include "emu/timing/instruction_price.h"

namespace nestor::emu::timing {

// How a block of code ends.
enum class BranchKind : uint8_t {
  kNone,
  kConditional,
  kIndirect,
  kCall,
  kIndirectCall,
  kReturn,
  kJump  // a direct one, whose target is in the code
};

// `last`: a whole instruction.
BranchKind branch_kind_of(std::span<const uint8_t> last, CodeMode mode);

class BranchPredictor {
 public:
  // A branch that ends at `end` has led to `target`. Whether that was foreseen; it is learned.
  bool foresees(BranchKind kind, uint64_t end, uint64_t target);

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(history_, targets_, returns_, top_);
    archive.bytes(taken_);
    for (const uint8_t counter : taken_) archive.require(counter <= kMostTaken);
    archive.require(top_ < kReturns && history_ < kCounters);
  }

 private:
  static constexpr uint32_t kCounters = 1u << 14, kTargets = 1u << 10, kReturns = 16;
  static constexpr uint8_t kMostTaken = 3;

  bool foresees_direction(uint64_t end, bool taken);
  bool foresees_target(uint64_t end, uint64_t target);

  uint32_t history_ = 0;                    // of the last conditional branches, a bit each
  std::array<uint8_t, kCounters> taken_{};  // 2 or more: it will be
  std::array<uint64_t, kTargets> targets_{};
  std::array<uint64_t, kReturns> returns_{};
  uint8_t top_ = 0;
};

}  // namespace nestor::emu::timing
