// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/performance_monitor.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace nestor::emu {
namespace {

using vmx::MsrStatus;

constexpr uint64_t kCounterMask = (1ull << PerformanceMonitor::kCounterWidth) - 1;
constexpr unsigned kFirstFixed = 32;  // in IA32_PERF_GLOBAL_CTRL and IA32_PERF_GLOBAL_STATUS

// IA32_PERFEVTSELx. "Any thread" (bit 21) belongs to version 3.
constexpr uint64_t kUser = 1u << 16, kSystem = 1u << 17, kEdge = 1u << 18, kInterrupt = 1u << 20,
                   kEnable = 1u << 22, kInvert = 1u << 23, kSelectValid = 0xffdfffff;
constexpr unsigned kUnitMaskAt = 8, kCounterMaskAt = 24;
// The 4 bits of IA32_FIXED_CTR_CTRL for each counter; "any thread" again is reserved.
constexpr uint64_t kFixedSystem = 1, kFixedUser = 2, kFixedInterrupt = 8, kFixedValid = 0xbbb;
// IA32_PERF_GLOBAL_STATUS: the buffer of precise sampling, and changed conditions.
constexpr uint64_t kOverflowBuffer = 1ull << 62, kConditionChanged = 1ull << 63;

}  // namespace

// "Pre-Defined Architectural Performance Events", and those of Skylake that the model of the core
// knows (github.com/intel/perfmon, skylakex_core.json). Reference cycles pass as fast as core
// cycles.
PerformanceMonitor::Event PerformanceMonitor::event_of(uint64_t select) const {
  const uint64_t encoding = select & 0xffff;
  switch (encoding) {
    case 0x003c:
    case 0x013c:
      return Event::kCycles;
    case 0x00c0:
      return Event::kInstructions;
    default:
      break;
  }
  if (!counts_core_events_) return Event::kNone;
  switch (encoding) {
    case 0x00c4:
      return Event::kBranches;
    case 0x00c5:
      return Event::kMispredictedBranches;
    case 0x104f:
      return Event::kEptWalkCycles;
    default:
      break;
  }
  if (counts_cache_events_) {
    switch (encoding) {
      case 0x4f2e:  // the architectural event, as is the next
      case 0x3f24:  // L2_RQSTS.MISS
        return Event::kThirdCacheRequests;
      case 0x412e:
        return Event::kThirdCacheMisses;
      case 0xff24:  // L2_RQSTS.REFERENCES
        return Event::kSecondCacheRequests;
      case 0x81d0:  // MEM_INST_RETIRED.ALL_LOADS
        return Event::kAllLoads;
      case 0x82d0:  // MEM_INST_RETIRED.ALL_STORES
        return Event::kAllStores;
      case 0x0151:  // L1D.REPLACEMENT
        return Event::kFirstCacheFills;
      case 0x0283:  // ICACHE_64B.IFTAG_MISS
        return Event::kCodeMisses;
      default:
        if ((encoding & 0xff) == 0xd1) return Event::kLoadsByPlace;
        break;
    }
  }
  switch (encoding & 0xff) {
    case 0x08:
      return Event::kLoadTranslations;
    case 0x49:
      return Event::kStoreTranslations;
    case 0x85:
      return Event::kFetchTranslations;
    default:
      return Event::kNone;
  }
}

namespace {

// MEM_LOAD_RETIRED: hits and misses of each level, and what was on its way already.
uint64_t loads_of(const timing::CoreEvents& events, uint64_t unit_mask) {
  using timing::LoadedFrom;
  const uint64_t memory = events.of(LoadedFrom::kMemory);
  const uint64_t third = events.of(LoadedFrom::kThird), below_second = third + memory;
  const uint64_t second = events.of(LoadedFrom::kSecond);
  const uint64_t counts[] = {
      events.of(LoadedFrom::kFirst),     second, third, second + below_second, below_second, memory,
      events.of(LoadedFrom::kFillBuffer)};
  uint64_t sum = 0;
  for (size_t bit = 0; bit < std::size(counts); ++bit)
    if ((unit_mask >> bit & 1) != 0) sum += counts[bit];
  return sum;
}

}  // namespace

uint64_t PerformanceMonitor::happened(const Active& counter, const Progress& passed) {
  const auto translations = [&](timing::TranslationFor reason) {
    const auto& events = passed.core.translations[static_cast<size_t>(reason)];
    uint64_t sum = 0;
    for (size_t bit = 0; bit < events.size(); ++bit)
      if (counter.select >> (kUnitMaskAt + bit) & 1) sum += events[bit];
    return sum;
  };
  switch (counter.event) {
    case Event::kNone:
      break;
    case Event::kCycles:
      return passed.cycles;
    case Event::kInstructions:
      return passed.instructions;
    case Event::kBranches:
      return passed.core.branches;
    case Event::kMispredictedBranches:
      return passed.core.mispredicted;
    case Event::kEptWalkCycles:
      return passed.core.ept_walk_cycles;
    case Event::kSecondCacheRequests:
      return passed.core.second_cache;
    case Event::kThirdCacheRequests:
      return passed.core.third_cache;
    case Event::kThirdCacheMisses:
      return passed.core.memory;
    case Event::kLoadsByPlace:
      return loads_of(passed.core, counter.select >> kUnitMaskAt);
    case Event::kAllLoads:
      return std::reduce(passed.core.loads.begin(), passed.core.loads.end());
    case Event::kAllStores:
      return passed.core.stores;
    case Event::kFirstCacheFills:
      return passed.core.data_fills;
    case Event::kCodeMisses:
      return passed.core.code_misses;
    case Event::kLoadTranslations:
      return translations(timing::TranslationFor::kLoad);
    case Event::kStoreTranslations:
      return translations(timing::TranslationFor::kStore);
    case Event::kFetchTranslations:
      return translations(timing::TranslationFor::kFetch);
  }
  return 0;
}

// A cycle has one event or none, which is what the counter mask is compared with. When an event
// begins is not known, so edges are not counted.
uint64_t PerformanceMonitor::increment(const Active& counter, const Progress& passed) {
  if (counter.select & kEdge) return 0;
  const uint64_t events = happened(counter, passed);
  const uint64_t threshold = counter.select >> kCounterMaskAt & 0xff;
  if (threshold == 0) return events;
  const uint64_t reaching = threshold == 1 ? std::min(events, passed.cycles) : 0;
  return counter.select & kInvert ? passed.cycles - reaching : reaching;
}

void PerformanceMonitor::find_active() {
  constexpr Event kFixedEvents[vmx::kFixedCounters] = {Event::kInstructions, Event::kCycles,
                                                       Event::kCycles};
  active_count_ = 0;
  const auto add = [this](const Active& counter) { active_[active_count_++] = counter; };
  for (unsigned i = 0; i < vmx::kGeneralCounters; ++i) {
    const uint64_t select = general_[i].select, bit = 1ull << i;
    const Event event = event_of(select);
    if (event == Event::kNone || !(select & kEnable) || !(global_ctrl_ & bit)) continue;
    if (!(select & (kUser | kSystem))) continue;
    add({&general_[i].value, bit, select, event, (select & kUser) != 0, (select & kSystem) != 0,
         (select & kInterrupt) != 0});
  }
  for (unsigned i = 0; i < vmx::kFixedCounters; ++i) {
    const uint64_t control = fixed_control_ >> (4 * i) & 0xf, bit = 1ull << (kFirstFixed + i);
    if (!(control & (kFixedSystem | kFixedUser)) || !(global_ctrl_ & bit)) continue;
    add({&fixed_[i], bit, 0, kFixedEvents[i], (control & kFixedUser) != 0,
         (control & kFixedSystem) != 0, (control & kFixedInterrupt) != 0});
  }
}

void PerformanceMonitor::reset() {
  general_ = {};
  fixed_ = {};
  fixed_control_ = status_ = 0;
  global_ctrl_ = kGlobalCtrlReset;
  interrupt_due_ = false;
  find_active();
}

void PerformanceMonitor::advance(const Progress& now, uint8_t cpl, uint64_t global_ctrl) {
  Progress passed = now;
  passed.instructions -= last_.instructions;
  passed.cycles -= last_.cycles;
  passed.core -= last_.core;
  last_ = now;
  for (const Active& counter : std::span(active_).first(active_count_)) {
    if (!counter.counts_at(cpl)) continue;
    const uint64_t value = *counter.value + increment(counter, passed);
    *counter.value = value & kCounterMask;
    if (value <= kCounterMask) continue;
    status_ |= counter.status_bit;
    if (counter.interrupt) interrupt_due_ = true;
  }
  if (global_ctrl == global_ctrl_) return;
  global_ctrl_ = global_ctrl;
  find_active();
}

// An instruction takes a cycle at least, or is counted by itself. It has one branch at most, and a
// walk takes more cycles than it has events. Of loads there may be two in a cycle: an interrupt of
// theirs may come late, at the end of a later block.
std::optional<uint64_t> PerformanceMonitor::cycles_to_interrupt(uint8_t cpl) const {
  std::optional<uint64_t> least;
  for (const Active& counter : std::span(active_).first(active_count_)) {
    if (!counter.interrupt || !counter.counts_at(cpl)) continue;
    const uint64_t left = kCounterMask + 1 - *counter.value;
    least = std::min(least.value_or(left), left);
  }
  return least;
}

std::optional<uint64_t> PerformanceMonitor::counter(uint32_t ecx) const {
  constexpr uint32_t kFixed = 1u << 30;
  if (ecx < vmx::kGeneralCounters) return general_[ecx].value;
  if (ecx >= kFixed && ecx < kFixed + vmx::kFixedCounters) return fixed_[ecx - kFixed];
  return std::nullopt;
}

void PerformanceMonitor::write_general_counter(unsigned i, uint64_t value) {
  general_[i].value = static_cast<uint64_t>(static_cast<int32_t>(value)) & kCounterMask;
}

void PerformanceMonitor::write_fixed_counter(unsigned i, uint64_t value) {
  fixed_[i] = value & kCounterMask;
}

MsrStatus PerformanceMonitor::write_event_select(unsigned i, uint64_t value) {
  if (value & ~kSelectValid) return MsrStatus::kGeneralProtection;
  general_[i].select = value;
  find_active();
  return MsrStatus::kOk;
}

MsrStatus PerformanceMonitor::write_fixed_control(uint64_t value) {
  if (value & ~kFixedValid) return MsrStatus::kGeneralProtection;
  fixed_control_ = value;
  find_active();
  return MsrStatus::kOk;
}

MsrStatus PerformanceMonitor::write_overflow_control(uint64_t value) {
  if (value & ~(vmx::kCounterEnables | kOverflowBuffer | kConditionChanged)) {
    return MsrStatus::kGeneralProtection;
  }
  status_ &= ~value;
  return MsrStatus::kOk;
}

}  // namespace nestor::emu
