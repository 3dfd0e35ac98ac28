// SPDX-License-Identifier: GPL-2.0-or-later
//
// Blocks of code: what is found out when one is translated and entered, and what it is charged.
#include <algorithm>
#include <cstdint>
#include <optional>

#include "emu/engine/unicorn/adapter.h"

namespace nestor::emu {

// Everything that is translated comes by here before it executes, and is examined when it is
// entered.
void UnicornEngine::on_translated(uc_engine*, uc_tb* translated, uc_tb*, void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  self.tlbs_->note_translation();
  const uint64_t linear = translated->pc;
  const uint32_t size = translated->size;
  // Unicorn counts the HLT that it has put there.
  const bool counts_more = self.translations_->ends_before(linear + size);
  const uint32_t instructions =
      counts_more ? self.client_->count_instructions(linear, size) : translated->icount;
  self.translations_->note_translated().block =
      Block{Block::translated(linear), self.block_tag_, size, instructions};
}

// The most frequent call of all: what is unusual happens elsewhere, so that this needs no stack.
[[gnu::aligned(64)]] void UnicornEngine::on_block(uc_engine*, uint64_t linear, uint32_t size,
                                                  void* user) {
  auto& record = *static_cast<BlockRecord*>(user);
  auto& self = *static_cast<UnicornEngine*>(record.user);
  Block& block = record.block;
  if (self.ends_inside(linear, size) || block.linear != linear || block.size != size ||
      block.tag != self.block_tag_ || self.prices_.clock().cycles() >= self.effective_deadline_)
      [[unlikely]] {
    self.enter_unusual_block(record, linear, size);
    return;
  }
  self.charge(block);
}

// The same where blocks are priced, and where they are profiled. `kReport` is known at compile
// time, so that what is not wanted costs nothing.
template <UnicornEngine::Report kReport>
[[gnu::aligned(64)]] void UnicornEngine::on_reported_block(uc_engine*, uint64_t linear,
                                                           uint32_t size, void* user) {
  auto& record = *static_cast<BlockRecord*>(user);
  auto& self = *static_cast<UnicornEngine*>(record.user);
  Block& block = record.block;
  if (self.ends_inside(linear, size) || block.linear != linear || block.size != size ||
      block.tag != self.block_tag_ || self.is_due()) [[unlikely]] {
    self.enter_unusual_block(record, linear, size);
    return;
  }
  constexpr bool kProfiles = kReport == Report::kProfile || kReport == Report::kProfileAndAccesses;
  if constexpr (kProfiles)
    self.client_->profile_block(*record.price, self.contexts_->general_registers());
  self.charge(block);
  if constexpr (kReport == Report::kPrice) {
    self.client_->enter_block(*record.price, self.contexts_->general_registers());
  } else if constexpr (kReport == Report::kProfile) {
    if (self.prices_.prices_blocks())
      self.client_->enter_block(*record.price, self.contexts_->general_registers());
  } else {
    self.client_->follow_block(*record.price, self.contexts_->general_registers(),
                               self.contexts_->segment_bases());
  }
}

UnicornEngine::BlockHook* UnicornEngine::block_hook() const {
  if (prices_.profiles_blocks()) {
    return prices_.follows_accesses() ? on_reported_block<Report::kProfileAndAccesses>
                                      : on_reported_block<Report::kProfile>;
  }
  if (prices_.follows_accesses()) return on_reported_block<Report::kAccesses>;
  return prices_.prices_blocks() ? on_reported_block<Report::kPrice> : on_block;
}

// Whether the last instruction of the current block, which makes a block, was translated anew
// because it had written to its own bytes. So is the next iteration of one that has been.
bool UnicornEngine::begins_again(const Block& block, uint64_t linear, uint32_t size) const {
  const bool last = linear - current_block_->linear < current_block_->size &&
                    linear + size == current_block_->linear + current_block_->size;
  if (!last || block.linear != Block::translated(linear) || block.instructions != 1) return false;
  if (!client_->may_follow_itself(linear, size)) return true;
  return linear == current_block_->linear && current_->instructions != begun_again_;
}

[[gnu::noinline]] void UnicornEngine::enter_unusual_block(BlockRecord& entered, uint64_t linear,
                                                          uint32_t size) {
  translations_->note_entered(entered);
  const bool fresh = entered.block.linear == Block::kNone;
  const bool own = fresh || (entered.block.is_at(linear) && entered.block.size == size);
  if (!own) stray_ = BlockRecord{};
  BlockRecord& record = own ? entered : stray_;
  Block& block = record.block;
  // A store into its own block is begun again in a block that ends with it.
  if (ends_inside(linear, size)) {
    refund_from(linear);
    leave_block();
  } else if (begins_again(block, linear, size)) {
    begun_again_ = current_->instructions;
    refund_from(linear);
    leave_block();
  }
  if (is_due() && (stop_requested_ || client_->deadline_passed())) {
    stop_before_block(StopKind::kDeadline);
    return;
  }
  const bool known = block.size == size && block.tag == block_tag_;
  if (known && block.linear == Block::stopping(linear)) {
    if (breaks_conditions(record)) return stop_before_block(StopKind::kCondition);
    stop_before_unsafe();
    return;
  }
  const bool examined =
      known && (block.linear == linear || block.linear == Block::conditional(linear));
  if (!examined && !examine(record, linear, size)) return;
  if (block.linear == Block::conditional(linear)) {
    if (breaks_conditions(record)) return stop_before_block(StopKind::kCondition);
  }
  if (prices_.profiles_blocks())
    client_->profile_block(*record.price, contexts_->general_registers());
  if (block.linear == linear && own) {
    charge(block);
  } else {
    kept_block_ = block;
    kept_block_.linear = linear;
    charge(kept_block_);
  }
  report(record);
}

bool UnicornEngine::breaks_conditions(const BlockRecord& record) {
  if (mode_->conditions_hold || record.conditions == 0) return false;
  const EntryValues values = contexts_->entry_values();
  const auto holds = [&values](const EntryCondition& one) { return one.holds(values); };
  return !std::ranges::all_of(translations_->conditions(record), holds);
}

// Finds out what there is to know of the block. false: it cannot be entered as it is. What the
// engine must not execute is never part of a block that it does: where there is such an
// instruction, the block is translated once more, up to there.
bool UnicornEngine::examine(BlockRecord& record, uint64_t linear, uint32_t size) {
  Block& block = record.block;
  if (translations_->are_full()) {
    translates_anew_ = stopped_ = true;  // and the block that was completed last is that still
    uc_emu_stop(uc_);
    return false;
  }
  conditions_.clear();
  const auto unsafe = client_->find_unsafe(linear, size, conditions_);
  if (unsafe && *unsafe != 0) {
    translations_->ask_again(linear, linear + *unsafe);
    translates_anew_ = true;
    stop_before_block(StopKind::kDeadline);
    return false;
  }
  const bool counted =
      block.linear == Block::translated(linear) && block.size == size && block.tag == block_tag_;
  const uint32_t instructions =
      counted ? block.instructions : client_->count_instructions(linear, size);
  if (&block == current_block_) keep_current_block();
  block = Block{linear, block_tag_, size, instructions};
  record.conditions = 0;
  if (!conditions_.empty()) translations_->set_conditions(record, conditions_);
  if (unsafe) {
    block.linear = mode_->single_step ? Block::kNone : Block::stopping(linear);
    if (breaks_conditions(record)) {
      stop_before_block(StopKind::kCondition);
    } else {
      stop_before_unsafe();
    }
    return false;
  }
  if (!conditions_.empty()) block.linear = Block::conditional(linear);
  if (prices_.reports_blocks()) record.price = client_->price_block(linear, size, record.price);
  return true;
}

void UnicornEngine::refund_from(uint64_t linear) {
  Block& block = *current_block_;
  const uint64_t offset = linear - block.linear;
  if (offset >= block.size) return;  // the block is complete, or there is none
  if (offset != block.offset) {
    block.before =
        offset == 0 ? 0 : client_->count_instructions(block.linear, static_cast<unsigned>(offset));
    block.offset = static_cast<uint32_t>(offset);
  } else if (offset == 0) {
    block.before = 0;
  }
  // A page walk may have changed code that is a paging-structure entry as well.
  const uint64_t undone = block.instructions - std::min(block.before, block.instructions);
  current_->instructions -= undone;
  prices_.refund_instructions(undone);
  if (prices_.reports_blocks() && undone != 0) client_->leave_block(block.before);
}

}  // namespace nestor::emu
