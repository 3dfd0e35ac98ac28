// SPDX-License-Identifier: GPL-2.0-or-later
//
// Blocks that are executed one instruction at a time, and what blocks cost.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "emu/cpu/engine_driver.h"
#include "emu/cpu/instruction_step.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

// --- stepped through

bool EngineDriver::is_watched(const WatchedBlock& block) const {
  const Turns& turns = core_.around().turns;
  if (turns.watches_all_instructions()) return true;
  const Until& until = turns.until();
  const auto next = std::ranges::lower_bound(until.breakpoints, block.linear);
  return next != until.breakpoints.end() && block.holds(*next);
}

// The engine has stopped before a block because it is watched.
bool EngineDriver::enter_watched_block() {
  if (!watched_ahead_ || watched_ahead_->linear != linear_rip(core_.state())) return false;
  stepping_through_ = std::exchange(watched_ahead_, std::nullopt);
  core_.around().turns.entered_watched_block();
  stepping_through_->entered_after = core_.context().instructions;
  core_.around().prices.charge_instructions(stepping_through_->prepaid);
  std::array<uint8_t, kPageSize> bytes;
  charge_code(stepping_through_->linear,
              code_at(stepping_through_->linear, std::span(bytes).first(std::min<size_t>(
                                                     stepping_through_->size, kPageSize))));
  return true;
}

void EngineDriver::leave_watched_block() {
  if (!stepping_through_) return;
  core_.around().prices.refund_instructions(stepping_through_->prepaid);
  const uint64_t executed = core_.context().instructions - stepping_through_->entered_after;
  if (timing::Core* core = core_.timing()) {
    refund_code(core->leave(executed));
    core->settle();
  }
  stepping_through_.reset();
}

bool EngineDriver::writes_to_watched_block() {
  const auto instruction = core_.instruction_at_rip();
  if (!stepping_through_ || !instruction) return false;
  const vmx::CpuState& state = core_.state();
  const auto physical = [&](uint64_t linear, ept::Access::Kind kind) -> std::optional<uint64_t> {
    const auto found =
        core_.mmu().probe(linear, core_.port().access(kind, Privilege::kCurrent), state.rflags);
    const auto* address = std::get_if<uint64_t>(&found);
    return address != nullptr ? std::optional(*address) : std::nullopt;
  };
  for (const MemoryAccess& access : memory_accesses(state, *instruction)) {
    const uint64_t first = linear_address_of(state, access);
    for (uint64_t byte = 0; access.written && byte < access.size; ++byte) {
      const auto at = physical(first + byte, ept::Access::kWrite);
      for (const uint64_t code :
           {stepping_through_->linear, stepping_through_->linear + stepping_through_->size - 1}) {
        const auto page = physical(code & ~(kPageSize - 1), ept::Access::kFetch);
        if (!at || !page || *at / kPageSize != *page / kPageSize) continue;
        if (stepping_through_->holds((code & ~(kPageSize - 1)) + *at % kPageSize)) return true;
      }
    }
  }
  return false;
}

// --- priced

std::vector<uint8_t> EngineDriver::instruction_lengths(std::span<const uint8_t> code) {
  std::array<uint16_t, kPageSize> starts;
  const unsigned count = core_.decoder().instruction_starts(code, code_mode(core_.state()), starts);
  std::vector<uint8_t> lengths(count);
  for (unsigned i = 0; i < count; ++i) {
    const size_t end = i + 1 < count ? starts[i + 1] : code.size();
    lengths[i] = static_cast<uint8_t>(std::min<size_t>(end - starts[i], Instruction::kMaxLength));
  }
  return lengths;
}

timing::PricedBlock* EngineDriver::price_block(uint64_t linear, unsigned size,
                                               timing::PricedBlock* place) {
  std::array<uint8_t, kPageSize> bytes;
  const auto code = code_at(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())));
  return &core_.timing()->price(code, instruction_lengths(code), linear, code_mode(core_.state()),
                                place);
}

// What is stepped through was charged as a whole.
void EngineDriver::enter_block(const timing::PricedBlock& block, const uint64_t* registers) {
  if (stepping_through_) return;
  core_.around().prices.charge_core(core_.timing()->enter(block, registers));
}

void EngineDriver::leave_block(unsigned instructions) {
  if (!stepping_through_) refund_code(core_.timing()->leave(instructions));
}

void EngineDriver::drop_prices() {
  if (timing::Core* core = core_.timing()) core->drop_prices();
}

void EngineDriver::charge_code(uint64_t linear, std::span<const uint8_t> code) {
  timing::Core* const core = core_.timing();
  if (core == nullptr) return;
  const vmx::CpuState& state = core_.state();
  core_.around().prices.charge_core(
      core->enter(code, instruction_lengths(code), linear, code_mode(state), state.gpr.data()));
}

void EngineDriver::refund_code(int64_t cycles) {
  core_.around().prices.refund_core(static_cast<uint64_t>(-cycles));
}

}  // namespace nestor::emu
