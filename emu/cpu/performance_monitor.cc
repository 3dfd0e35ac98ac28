// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/performance_monitor.h"

#include <algorithm>
#include <span>

namespace nestor::emu {
namespace {

using vmx::MsrStatus;

constexpr uint64_t kCounterMask = (1ull << PerformanceMonitor::kCounterWidth) - 1;
constexpr unsigned kFirstFixed = 32;  // in IA32_PERF_GLOBAL_CTRL and IA32_PERF_GLOBAL_STATUS

// IA32_PERFEVTSELx. "Any thread" (bit 21) belongs to version 3.
constexpr uint64_t kUser = 1u << 16, kSystem = 1u << 17, kEdge = 1u << 18, kInterrupt = 1u << 20,
                   kEnable = 1u << 22, kInvert = 1u << 23, kSelectValid = 0xffdfffff;
constexpr unsigned kCounterMaskAt = 24;
// The 4 bits of IA32_FIXED_CTR_CTRL for each counter; "any thread" again is reserved.
constexpr uint64_t kFixedSystem = 1, kFixedUser = 2, kFixedInterrupt = 8, kFixedValid = 0xbbb;
// IA32_PERF_GLOBAL_STATUS: the buffer of precise sampling, and changed conditions.
constexpr uint64_t kOverflowBuffer = 1ull << 62, kConditionChanged = 1ull << 63;

}  // namespace

// "Pre-Defined Architectural Performance Events". Reference cycles pass as fast as core cycles.
PerformanceMonitor::Event PerformanceMonitor::event_of(uint64_t select) {
  switch (select & 0xffff) {
    case 0x003c:
    case 0x013c:
      return Event::kCycles;
    case 0x00c0:
      return Event::kInstructions;
    default:
      return Event::kNone;
  }
}

// A cycle has one event or none, which is what the counter mask is compared with. When an event
// begins is not known, so edges are not counted.
uint64_t PerformanceMonitor::increment(const Active& counter, uint64_t instructions,
                                       uint64_t cycles) {
  if (counter.select & kEdge) return 0;
  const uint64_t events = counter.event == Event::kCycles ? cycles : instructions;
  const uint64_t threshold = counter.select >> kCounterMaskAt & 0xff;
  if (threshold == 0) return events;
  const uint64_t reaching = threshold == 1 ? std::min(events, cycles) : 0;
  return counter.select & kInvert ? cycles - reaching : reaching;
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
  const uint64_t instructions = now.instructions - last_.instructions,
                 cycles = now.cycles - last_.cycles;
  last_ = now;
  for (const Active& counter : std::span(active_).first(active_count_)) {
    if (!counter.counts_at(cpl)) continue;
    const uint64_t value = *counter.value + increment(counter, instructions, cycles);
    *counter.value = value & kCounterMask;
    if (value <= kCounterMask) continue;
    status_ |= counter.status_bit;
    if (counter.interrupt) interrupt_due_ = true;
  }
  if (global_ctrl == global_ctrl_) return;
  global_ctrl_ = global_ctrl;
  find_active();
}

// An instruction takes a cycle at least.
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
