// SPDX-License-Identifier: GPL-2.0-or-later
//
// The core where each access to memory goes through TLBs and caches.
#include <algorithm>
#include <array>
#include <cstring>

#include "emu/timing/core.h"

namespace nestor::emu::timing {
namespace {

constexpr uint64_t mask_of(unsigned bits) {
  return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
}

uint64_t sum_of(const AccessSlices::Sum& sum, const uint64_t* values) {
  auto value = static_cast<uint64_t>(sum.offset);
  if (sum.base != AccessSlices::kNoValue) value += values[sum.base];
  if (sum.index != AccessSlices::kNoValue) value += values[sum.index] * sum.scale;
  return value & mask_of(sum.bits);
}

uint64_t address_of(const AccessSlices::Sum& sum, const uint64_t* values, const EntryState& entry) {
  uint64_t address = sum_of(sum, values);
  if (sum.segment != AccessSlices::kNoSegment) address += entry.bases[sum.segment];
  return sum.wraps ? address & mask_of(32) : address;
}

int64_t sign_extended(uint64_t value, unsigned bits) {
  const unsigned unused = 64 - bits;
  return static_cast<int64_t>(value << unused) >> unused;
}

uint64_t result_of(const AccessSlices::Step& step, const uint64_t* values) {
  using enum AccessSlices::Computation;
  const uint64_t value = sum_of(step.sum, values);
  const uint64_t other = step.operand != AccessSlices::kNoValue
                             ? values[step.operand]
                             : static_cast<uint64_t>(step.constant);
  switch (step.computation) {
    case kAnd:
      return value & other;
    case kOr:
      return value | other;
    case kXor:
      return value ^ other;
    case kSubtract:
      return value - other;
    case kShiftLeft:
      return value << (other & 63);
    case kShiftRight:
      return value >> (other & 63);
    case kShiftRightSigned:
      return static_cast<uint64_t>(sign_extended(value, step.width) >> (other & 63));
    case kMultiply:
      return value * other;
    case kSignExtend:
      return static_cast<uint64_t>(sign_extended(value, step.width));
    default:
      return value;
  }
}

TranslationFor reason_of(AccessKind kind) {
  const bool writes =
      kind == AccessKind::kStore || kind == AccessKind::kUpdate || kind == AccessKind::kNonTemporal;
  return writes ? TranslationFor::kStore : TranslationFor::kLoad;
}

}  // namespace

// What the engine was not granted yet it asks for when it makes the access, and then it is charged.
Core::Located Core::locate(uint64_t linear, TranslationFor reason, MemoryView& view) {
  Located located;
  if (const auto found = translations_.look_up(linear, reason)) {
    located.physical = found->physical;
    located.cycles = found->cycles;
    return located;
  }
  const auto page = view.find(linear, reason);
  if (!page) return located;
  located.physical = page->physical;
  if (!page->granted) return located;
  located.cycles = static_cast<uint32_t>(view.walk(linear, reason));
  located.walks = located.cycles != 0;
  return located;
}

// Whether it takes longer than the shortest time.
bool Core::use(AccessKind kind, uint64_t linear, MemoryView& view) {
  MemoryAccess& access = accesses_.emplace_back();
  access.kind = kind;
  Located located;
  if (!translations_.is_recent(linear, located.physical)) {
    located = locate(linear, reason_of(kind), view);
    access.translation = located.cycles;
    access.walks = located.walks;
    if (located.physical == kOutsideRam) return located.cycles != 0;
  }
  access.line = located.physical >> kLineBits;
  if (kind == AccessKind::kFlush || kind == AccessKind::kNonTemporal) {
    caches_.drop(access.line);
    return false;
  }
  access.cached = true;
  access.level = caches_.use_data(access.line);
  counts_->data_fills += access.level != CacheLevel::kFirst;
  if (kind == AccessKind::kLoad || kind == AccessKind::kUpdate)
    ++counts_->loads[static_cast<size_t>(access.level)];
  if (kind == AccessKind::kStore || kind == AccessKind::kUpdate) {
    ++counts_->stores;
    counts_->store_misses += access.level != CacheLevel::kFirst;
  }
  return access.level != CacheLevel::kFirst || access.translation != 0 ||
         memory_.is_on_its_way(access.line, accumulator_.issued());
}

bool Core::follow(const AccessSlices::Step& step, const EntryState& entry, MemoryView& view) {
  using enum AccessSlices::Computation;
  uint64_t value = 0;
  if (step.computation == kLoad || step.computation == kSignExtendedLoad) {
    const uint64_t linear = address_of(step.sum, values_.data(), entry);
    uint64_t physical = 0;
    if (!translations_.is_recent(linear, physical)) {
      const auto page = view.find(linear, TranslationFor::kLoad);
      if (!page) return false;
      physical = page->physical;
    }
    std::array<uint8_t, 8> bytes{};
    if (!view.read(physical, std::span(bytes).first(step.width / 8u))) return false;
    std::memcpy(&value, bytes.data(), sizeof value);
    if (step.computation == kSignExtendedLoad)
      value = static_cast<uint64_t>(sign_extended(value, step.width));
  } else {
    value = result_of(step, values_.data());
  }
  values_.push_back(value & mask_of(step.bits));
  return true;
}

bool Core::find_accesses(const PricedBlock& block, const EntryState& entry, MemoryView& view) {
  using enum AccessSlices::Computation;
  const AccessSlices& slices = block.slices;
  counts_->unknown_accesses += slices.unknown;
  accesses_.clear();
  const uint64_t* values = entry.registers;
  if (slices.values != 0) {
    values_.assign(values, values + kGprs);
    values_.reserve(kGprs + size_t{slices.values});
    values = values_.data();
  }
  bool slow = false;
  for (const AccessSlices::Step& step : slices.steps) {
    if (step.computation == kAccess) {
      slow |= use(step.kind, address_of(step.sum, values, entry), view);
    } else if (!follow(step, entry, view)) {
      counts_->unknown_accesses += slices.accesses - accesses_.size();
      break;
    }
  }
  accesses_.resize(slices.accesses);
  return slow;
}

// Of code that comes from the legacy decoders.
void Core::fetch_lines(const PricedBlock& block, MemoryView& view) {
  const Processor::Memory& memory = blocks_.processor().memory;
  constexpr uint64_t kLine = 1u << kLineBits, kPage = 4096;
  uint64_t cycles = 0, page = 0, physical_page = kOutsideRam;
  const uint64_t end = block.linear + block.code.size();
  for (uint64_t at = block.linear; at < end; at = (at / kLine + 1) * kLine) {
    if (at == block.linear || at % kPage == 0) {
      const Located located = locate(at, TranslationFor::kFetch, view);
      page = at / kPage * kPage;
      physical_page =
          located.physical == kOutsideRam ? kOutsideRam : located.physical & ~(kPage - 1);
      cycles += located.cycles;
    }
    if (physical_page == kOutsideRam) continue;
    const uint64_t physical = physical_page + (at - page);
    const CacheLevel level = caches_.use_code(physical >> kLineBits);
    if (level == CacheLevel::kFirst) continue;
    ++counts_->code_misses;
    cycles += cycles_of(level, memory);
  }
  if (cycles != 0) accumulator_.fetch_after(accumulator_.issued() + cycles * kTicksPerCycle);
}

Ticks Core::delay(const PricedBlock& block, size_t instruction, Ticks ready, Ticks& stored) {
  const AccessSlices::OfInstruction& of =
      observing_ != nullptr ? observed_of_[instruction] : block.slices.of[instruction];
  Ticks later = 0;
  if (of.load != AccessSlices::kNoValue && accesses_[of.load].cached) {
    const MemoryTiming::Wait wait = memory_.access(accesses_[of.load], ready);
    later = wait.ticks;
    if (wait.fill_buffer) {
      --counts_->loads[static_cast<size_t>(LoadedFrom::kFirst)];
      ++counts_->loads[static_cast<size_t>(LoadedFrom::kFillBuffer)];
    }
    if (of.load == of.store) stored = std::max(stored, ready + later);
  }
  if (of.store != AccessSlices::kNoValue && of.store != of.load && accesses_[of.store].cached)
    stored = std::max(stored, ready + memory_.access(accesses_[of.store], ready).ticks);
  delays_[instruction] = later;
  return later;
}

void Core::add_slowly(const PricedBlock& block, const uint64_t* registers) {
  blocks_.find_steps(block);
  delays_.assign(block.steps.size(), 0);
  const Ticks issued = accumulator_.issued();
  for (const MemoryAccess& access : accesses_)
    if (access.kind == AccessKind::kPrefetch && access.cached) (void)memory_.access(access, issued);
  Ticks stored = 0;
  accumulator_.add(block.piece, block.steps, registers, last_front_end_,
                   [&](size_t i, Ticks ready) { return delay(block, i, ready, stored); });
  if (stored > accumulator_.time()) memory_.store(stored, accumulator_.time());
}

uint64_t Core::enter(const PricedBlock& block, const EntryState& entry, MemoryView& view) {
  if (blocks_.observes_accesses()) return enter_observed(block, entry, view);
  const Ticks before = accumulator_.time();
  begin(block);
  if (last_front_end_ == FrontEnd::kLegacy) fetch_lines(block, view);
  if (!delays_.empty()) delays_.clear();
  const bool slow = find_accesses(block, entry, view);
  if (block.slices.stores != 0) accumulator_.wait_for_room(memory_.store_room(block.slices.stores));
  if (slow) {
    add_slowly(block, entry.registers);
  } else {
    accumulator_.add(block.piece, entry.registers, last_front_end_);
  }
  return cycles(accumulator_.time()) - cycles(before);
}

}  // namespace nestor::emu::timing
