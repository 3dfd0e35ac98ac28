// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/core.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "emu/timing/block_price.h"

namespace nestor::emu::timing {

void BlockPrices::price(PricedBlock& block) const {
  const auto prices = price_instructions(block.code, block.lengths, block.mode, processor_);
  block.piece = piece_of(prices, processor_, block.linear);
  block.cacheable = !has_jcc_erratum(prices, processor_, block.linear);
  block.default_priced = static_cast<uint32_t>(
      std::ranges::count_if(prices, &InstructionPrice::default_priced));
}

Piece BlockPrices::part_of(const PricedBlock& block, size_t instructions) const {
  const auto lengths = std::span(block.lengths).first(std::min(instructions, block.lengths.size()));
  return piece_of(price_instructions(block.code, lengths, block.mode, processor_), processor_,
                  block.linear);
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

uint64_t Core::enter(const PricedBlock& block, const uint64_t* registers) {
  const Ticks before = accumulator_.time();
  const bool held = block.cacheable &&
                    decoded_.hold(block.piece.predecode.begin, block.piece.predecode.end - 1);
  last_front_end_ = held ? FrontEnd::kDsb : FrontEnd::kLegacy;
  last_ = &block;
  default_priced_ += block.default_priced;
  accumulator_.add(block.piece, registers, last_front_end_);
  return cycles(accumulator_.time()) - cycles(before);
}

uint64_t Core::enter(std::span<const uint8_t> code, std::vector<uint8_t> lengths, uint64_t linear,
                     CodeMode mode, const uint64_t* registers) {
  (void)price(code, std::move(lengths), linear, mode, &kept_);
  return enter(kept_, registers);
}

int64_t Core::leave(size_t instructions) {
  if (last_ == nullptr || instructions >= last_->lengths.size()) return 0;
  const Ticks before = accumulator_.time();
  accumulator_.replace(last_->piece, blocks_.part_of(*last_, instructions), last_front_end_);
  last_ = nullptr;
  return static_cast<int64_t>(cycles(accumulator_.time()) - cycles(before));
}

void Core::resume_kept(bool makes_sense) {
  const size_t size =
      std::accumulate(kept_.lengths.begin(), kept_.lengths.end(), size_t{0});
  const bool valid = std::ranges::all_of(kept_.lengths, [](uint8_t length) {
    return length >= 1 && length <= Instruction::kMaxLength;
  });
  last_ = nullptr;
  if (!makes_sense || !valid || size != kept_.code.size() || kept_.mode > CodeMode::k64) return;
  blocks_.price(kept_);
  last_ = &kept_;
}

}  // namespace nestor::emu::timing
