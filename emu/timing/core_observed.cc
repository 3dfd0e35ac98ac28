// SPDX-License-Identifier: GPL-2.0-or-later
//
// The core where the accesses of a block are known once it has executed: the engine reports them.
#include <algorithm>
#include <cstddef>
#include <span>

#include "emu/timing/core.h"

namespace nestor::emu::timing {

void Core::observe(const Observed& access) {
  const auto same = std::ranges::find_if(observed_, [&access](const Observed& other) {
    return other.instruction == access.instruction && other.linear == access.linear &&
           other.writes == access.writes;
  });
  // Another piece of it.
  if (same == observed_.end()) observed_.push_back(access);
}

bool Core::use_observed() {
  const PricedBlock& block = *last_;
  accesses_.clear();
  observed_of_.assign(block.lengths.size(), {});
  bool slow = observed_waits_;
  for (size_t i = 0; i < observed_.size(); ++i) {
    const Observed& one = observed_[i];
    size_t number = 0;
    uint64_t at = block.linear;
    while (number < block.lengths.size() && at != one.instruction) at += block.lengths[number++];
    if (number == block.lengths.size()) {
      observe_unexplained();
      continue;
    }
    AccessSlices::OfInstruction& of = observed_of_[number];
    const auto is_other_half = [&one](const Observed& other) {
      return other.instruction == one.instruction && other.linear == one.linear &&
             other.writes != one.writes;
    };
    const auto half = std::ranges::find_if(observed_, is_other_half);
    const bool updates = half != observed_.end();
    if (updates && half < observed_.begin() + static_cast<std::ptrdiff_t>(i)) continue;
    const auto access = static_cast<uint16_t>(accesses_.size());
    const AccessKind kind = updates      ? AccessKind::kUpdate
                            : one.writes ? AccessKind::kStore
                                         : AccessKind::kLoad;
    slow |= use(kind, one.linear, *observing_);
    if (accesses_.back().cached && accesses_.back().line != one.physical >> kLineBits)
      observe_unexplained();
    if (kind != AccessKind::kStore && of.load == AccessSlices::kNoValue) of.load = access;
    if (kind != AccessKind::kLoad && of.store == AccessSlices::kNoValue) of.store = access;
  }
  observed_.clear();
  return slow;
}

void Core::add_observed(size_t instructions) {
  const PricedBlock& block = *last_;
  const bool slow = use_observed();
  const bool whole = instructions >= block.lengths.size();
  const Piece part = whole ? Piece{} : blocks_.part_of(block, instructions);
  const Piece& completed = whole ? block.piece : part;
  if (slow) {
    blocks_.find_steps(block);
    delays_.assign(block.steps.size(), 0);
    Ticks stored = 0;
    const auto steps = std::span(block.steps).first(std::min(instructions, block.steps.size()));
    accumulator_.replace(block.piece, completed, steps, last_front_end_,
                         [&](size_t i, Ticks ready) { return delay(block, i, ready, stored); });
    if (stored > accumulator_.time()) memory_.store(stored, accumulator_.time());
  } else if (!whole) {
    accumulator_.replace(block.piece, completed, last_front_end_);
  }
  observing_ = nullptr;
}

int64_t Core::complete() {
  if (observing_ == nullptr) return 0;
  const Ticks before = accumulator_.time();
  add_observed(last_->lengths.size());
  return static_cast<int64_t>(cycles(accumulator_.time()) - cycles(before));
}

uint64_t Core::enter_observed(const PricedBlock& block, const EntryState& entry, MemoryView& view) {
  const Ticks before = accumulator_.time();
  (void)complete();
  begin(block);
  if (last_front_end_ == FrontEnd::kLegacy) fetch_lines(block, view);
  delays_.clear();
  observed_waits_ = memory_.is_waiting(accumulator_.issued());
  if (block.slices.stores != 0) accumulator_.wait_for_room(memory_.store_room(block.slices.stores));
  accumulator_.add(block.piece, entry.registers, last_front_end_);
  observing_ = &view;
  return cycles(accumulator_.time()) - cycles(before);
}

}  // namespace nestor::emu::timing
