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
  std::array<uint8_t, kPageSize> bytes;
  const uint64_t linear = stepping_through_->linear;
  const auto code =
      code_at(linear, std::span(bytes).first(std::min<size_t>(stepping_through_->size, kPageSize)));
  profile_code(linear, code);
  core_.around().prices.charge_instructions(stepping_through_->prepaid);
  charge_code(linear, code);
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
  profile::Profiler* const profiler = core_.around().profiler;
  if (profiler != nullptr && stepping_through_->prepaid != 0) profiler->leave();
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

// --- priced and profiled

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

namespace {

timing::BranchKind branch_at_end(std::span<const uint8_t> code, std::span<const uint8_t> lengths,
                                 CodeMode mode) {
  if (lengths.empty()) return timing::BranchKind::kNone;
  return timing::branch_kind_of(code.last(std::min<size_t>(lengths.back(), code.size())), mode);
}

}  // namespace

timing::PricedBlock* EngineDriver::price_block(uint64_t linear, unsigned size,
                                               timing::PricedBlock* place) {
  std::array<uint8_t, kPageSize> bytes;
  const auto code = code_at(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())));
  const CodeMode mode = code_mode(core_.state());
  auto lengths = instruction_lengths(code);
  profile::Profiler* const profiler = core_.around().profiler;
  if (timing::Core* core = core_.timing()) {
    place = &core->price(code, std::move(lengths), linear, mode, place);
  } else {
    place = &profiler->add_block(place);
    place->linear = linear;
    place->ends_in = branch_at_end(code, lengths, mode);
  }
  if (profiler != nullptr) profiler->examine(*place);
  return place;
}

// What is stepped through was charged as a whole.
void EngineDriver::enter_block(const timing::PricedBlock& block, const uint64_t* registers) {
  if (stepping_through_) return;
  core_.around().prices.charge_core(core_.timing()->enter(block, registers));
}

void EngineDriver::follow_block(const timing::PricedBlock& block, const uint64_t* registers,
                                const SegmentBases& bases) {
  if (stepping_through_) return;
  view_.look_as(core_.around().engine.live_rflags());
  core_.around().prices.charge_core(core_.timing()->enter(block, {registers, bases}, view_));
}

// The engine knows where in physical memory, and the operands of the instruction have the linear
// address.
void EngineDriver::observe_access(uint64_t linear, uint64_t physical, bool writes,
                                  const uint64_t* registers, const SegmentBases& bases) {
  timing::Core& core = *core_.timing();
  if (stepping_through_ || !core.observes()) return;
  vmx::CpuState state = core_.state();
  std::copy_n(registers, state.gpr.size(), state.gpr.begin());
  for (size_t i = 0; i < bases.size(); ++i) state.segment[i].base = bases[i];
  state.rip = linear - bases[vmx::kCs];
  std::array<uint8_t, Instruction::kMaxLength> bytes;
  const auto instruction = core_.decoder().decode(code_at(linear, bytes), code_mode(state));
  if (instruction) {
    for (const MemoryAccess& access : memory_accesses(state, *instruction)) {
      const uint64_t first = linear_address_of(state, access);
      const uint64_t offset = (physical - first) % kPageSize;
      if (offset >= access.size || !(writes ? access.written : access.read)) continue;
      return core.observe({linear, first, physical - offset, writes});
    }
  }
  core.observe_unexplained();
}

void EngineDriver::profile_block(const timing::PricedBlock& block, const uint64_t* registers) {
  if (!stepping_through_) core_.around().profiler->enter(block, registers[vmx::kRsp]);
}

void EngineDriver::leave_block(unsigned instructions) {
  if (stepping_through_) return;
  if (timing::Core* core = core_.timing()) refund_code(core->leave(instructions));
  if (profile::Profiler* profiler = core_.around().profiler) profiler->leave();
}

void EngineDriver::drop_prices() {
  if (timing::Core* core = core_.timing()) core->drop_prices();
  if (profile::Profiler* profiler = core_.around().profiler) profiler->drop_blocks();
}

void EngineDriver::profile_code(uint64_t linear, std::span<const uint8_t> code) {
  profile::Profiler* const profiler = core_.around().profiler;
  if (profiler == nullptr) return;
  timing::PricedBlock block;
  block.linear = linear;
  block.ends_in = branch_at_end(code, instruction_lengths(code), code_mode(core_.state()));
  profiler->examine(block);
  profiler->enter(block, core_.state().gpr[vmx::kRsp]);
}

void EngineDriver::charge_code(uint64_t linear, std::span<const uint8_t> code) {
  timing::Core* const core = core_.timing();
  if (core == nullptr) return;
  const vmx::CpuState& state = core_.state();
  const timing::PricedBlock& block =
      core->price(code, instruction_lengths(code), linear, code_mode(state));
  Prices& prices = core_.around().prices;
  if (!core->follows_accesses()) {
    prices.charge_core(core->enter(block, state.gpr.data()));
    return;
  }
  timing::EntryState entry{state.gpr.data(), {}};
  for (size_t i = 0; i < entry.bases.size(); ++i) entry.bases[i] = state.segment[i].base;
  view_.look_as(state.rflags);
  prices.charge_core(core->enter(block, entry, view_));
}

void EngineDriver::refund_code(int64_t cycles) {
  core_.around().prices.refund_core(static_cast<uint64_t>(-cycles));
}

}  // namespace nestor::emu
