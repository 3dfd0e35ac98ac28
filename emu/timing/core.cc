// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/core.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "emu/timing/block_price.h"

namespace nestor::emu::timing {

void BlockPrices::price(PricedBlock& block) const {
  const auto prices = price_instructions(block.code, block.lengths, block.mode, processor_);
  block.piece = piece_of(prices, processor_, block.linear);
  block.cacheable = !has_jcc_erratum(prices, processor_, block.linear);
  block.default_priced =
      static_cast<uint32_t>(std::ranges::count_if(prices, &InstructionPrice::default_priced));
  if (prices.empty()) return;
  if (follows_accesses_)
    block.slices = access_slices(block.code, block.lengths, prices, block.mode, block.linear);
  const InstructionPrice& last = prices.back();
  block.ends_in = branch_kind_of(std::span(block.code).last(last.length), block.mode);
  block.branch_waits = last.address_read | last.operand_read;
  block.branch_takes = last.loads ? last.latency * kTicksPerCycle : Ticks{0};
}

Piece BlockPrices::part_of(const PricedBlock& block, size_t instructions) const {
  const auto lengths = std::span(block.lengths).first(std::min(instructions, block.lengths.size()));
  return piece_of(price_instructions(block.code, lengths, block.mode, processor_), processor_,
                  block.linear);
}

void BlockPrices::find_steps(const PricedBlock& block) const {
  if (!block.steps.empty()) return;
  block.steps =
      dependency_steps(price_instructions(block.code, block.lengths, block.mode, processor_));
}

PricedBlock& Core::price(std::span<const uint8_t> code, std::vector<uint8_t> lengths,
                         uint64_t linear, CodeMode mode, PricedBlock* place) {
  if (place != nullptr && place == last_) keep_last();
  PricedBlock& block = place != nullptr ? *place : blocks_.add();
  block = PricedBlock{linear, mode, {code.begin(), code.end()}, std::move(lengths), {}};
  blocks_.price(block);
  return block;
}

void Core::drop_prices() {
  keep_last();
  blocks_.clear();
}

void Core::keep_last() {
  if (last_ == nullptr || last_ == &kept_) return;
  kept_ = *last_;
  last_ = &kept_;
}

inline void Core::begin(const PricedBlock& block) {
  const bool held =
      block.cacheable && decoded_.hold(block.piece.predecode.begin, block.piece.predecode.end - 1);
  last_front_end_ = held ? FrontEnd::kDsb : FrontEnd::kLegacy;
  last_ = &block;
  counts_->default_priced += block.default_priced;
  counts_->executed_branches += block.ends_in != BranchKind::kNone;
  if (branch_.kind != BranchKind::kNone) resolve_branch(block.linear);
  branch_ = {block.ends_in, block.linear + block.code.size(), block.branch_waits,
             block.branch_takes};
}

// The most frequent call of all: nothing of it is called in turn.
[[gnu::flatten]] uint64_t Core::enter(const PricedBlock& block, const uint64_t* registers) {
  const Ticks before = accumulator_.time();
  begin(block);
  accumulator_.add(block.piece, registers, last_front_end_);
  return cycles(accumulator_.time()) - cycles(before);
}

// Code that was not foreseen is fetched once the branch has been executed.
void Core::resolve_branch(uint64_t target) {
  if (branch_.kind == BranchKind::kJump) return;
  ++counts_->branches;
  if (branches_.foresees(branch_.kind, branch_.end, target)) return;
  ++counts_->mispredicted;
  Ticks executed = accumulator_.issued();
  for (Values left = branch_.waits; left != 0; left &= left - 1)
    executed =
        std::max(executed, accumulator_.ready(static_cast<unsigned>(std::countr_zero(left))));
  accumulator_.fetch_after(executed + branch_.takes +
                           blocks_.processor().misprediction * kTicksPerCycle);
}

int64_t Core::leave(size_t instructions) {
  if (last_ == nullptr || instructions >= last_->lengths.size()) return 0;
  const Ticks before = accumulator_.time();
  counts_->executed_branches -= last_->ends_in != BranchKind::kNone;
  if (observing_ != nullptr) {
    add_observed(instructions);
  } else if (const Piece completed = blocks_.part_of(*last_, instructions); delays_.empty()) {
    accumulator_.replace(last_->piece, completed, last_front_end_);
  } else {
    blocks_.find_steps(*last_);
    accumulator_.replace(last_->piece, completed, std::span(last_->steps).first(instructions),
                         last_front_end_, [this](size_t i, Ticks) { return delays_[i]; });
  }
  delays_.clear();
  last_ = nullptr;
  branch_ = {};
  return static_cast<int64_t>(cycles(accumulator_.time()) - cycles(before));
}

CoreEvents Core::events() const {
  CoreEvents sum = events_before_;
  for (const LevelCounts& level : levels_) {
    sum += level.translations.events;
    sum.branches += level.code.executed_branches;
    sum.mispredicted += level.code.mispredicted;
    for (size_t i = 0; i < sum.loads.size(); ++i) sum.loads[i] += level.code.loads[i];
    sum.stores += level.code.stores;
    sum.data_fills += level.code.data_fills;
    sum.code_misses += level.code.code_misses;
    sum.second_cache += level.caches.second;
    sum.third_cache += level.caches.third;
    sum.memory += level.caches.memory;
  }
  return sum;
}

void Core::resume_kept(bool makes_sense) {
  const size_t size = std::accumulate(kept_.lengths.begin(), kept_.lengths.end(), size_t{0});
  const bool valid = std::ranges::all_of(kept_.lengths, [](uint8_t length) {
    return length >= 1 && length <= Instruction::kMaxLength;
  });
  last_ = nullptr;
  if (!makes_sense || !valid || size != kept_.code.size() || kept_.mode > CodeMode::k64) return;
  if (!delays_.empty() && delays_.size() != kept_.lengths.size()) return;
  kept_.steps.clear();
  blocks_.price(kept_);
  last_ = &kept_;
}

}  // namespace nestor::emu::timing
