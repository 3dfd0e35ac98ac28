// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/acpi/hpet.h"

#include <algorithm>

namespace nestor::emu {
namespace {

// "Memory Map": registers of 64 bits.
enum Offset : uint64_t {
  kCapabilities = 0x000,
  kConfig = 0x010,
  kStatus = 0x020,
  kCounter = 0x0f0,
  kFirstTimer = 0x100,
  kTimerBytes = 0x20,
};
enum TimerOffset : uint64_t { kTimerConfig = 0x00, kComparator = 0x08 };

// "General Configuration Register".
constexpr uint64_t kEnabled = 1u << 0, kLegacyRoute = 1u << 1;
// "Timer N Configuration and Capabilities Register".
constexpr uint64_t kLevel = 1u << 1, kInterrupts = 1u << 2, kPeriodic = 1u << 3,
                   kPeriodicCapable = 1u << 4, k64Bits = 1u << 5, kSetsValue = 1u << 6,
                   k32BitMode = 1u << 8;
constexpr unsigned kRouteShift = 9;
constexpr uint64_t kRouteBits = 0x1full << kRouteShift;
constexpr uint64_t kRoutes = ((1ull << Hpet::kLines) - 1) << Hpet::kFirstLine;
constexpr uint64_t kTimerCapabilities = kPeriodicCapable | k64Bits | kRoutes << 32;
constexpr uint64_t kTimerWritable =
    kLevel | kInterrupts | kPeriodic | kSetsValue | k32BitMode | kRouteBits;

constexpr unsigned kLegacySources = 2;

constexpr uint64_t route(uint64_t config) { return (config & kRouteBits) >> kRouteShift; }
constexpr bool is_route(uint64_t line) { return kRoutes >> line & 1; }
constexpr uint64_t width_mask(uint64_t config) {
  return (config & k32BitMode) != 0 ? 0xffffffff : ~0ull;
}

}  // namespace

void Hpet::Timer::fields(Archive& archive) {
  archive(config, comparator, period);
  archive.require((config & ~kTimerWritable) == 0 &&
                  (route(config) == 0 || is_route(route(config))));
  archive.require((comparator & ~width_mask(config)) == 0 && (period & ~width_mask(config)) == 0);
}

void Hpet::State::fields(Archive& archive) {
  archive(config, status, counter, since, timers);
  archive.require((config & ~(kEnabled | kLegacyRoute)) == 0 && status >> kTimers == 0);
  archive.require(since < 1ull << 62);
}

Hpet::Hpet(const Clock& clock, EventQueue& timers, InterruptLines& lines)
    : clock_(clock), lines_(lines), due_(timers, "HPET", [this](uint64_t) { catch_up(); }) {
  sources_.push_back(lines.source(0));
  sources_.push_back(lines.source(8));
  for (unsigned i = 0; i < kLines; ++i) sources_.push_back(lines.source(kFirstLine + i));
}

// --- time

uint64_t Hpet::elapsed_ticks() const {
  if (!counts() || clock_.cycles() < state_.since) return 0;
  return (clock_.cycles() - state_.since) / kCyclesPerTick;
}

uint64_t Hpet::ticks_to_match(const Timer& timer, uint64_t counter) {
  // What is equal now has matched before.
  return ((timer.comparator - counter - 1) & width_mask(timer.config)) + 1;
}

void Hpet::catch_up() {
  if (const uint64_t ticks = elapsed_ticks(); ticks != 0) {
    for (unsigned i = 0; i < kTimers; ++i) match(i, ticks);
    state_.counter += ticks;
    state_.since += ticks * kCyclesPerTick;
  }
  set_deadline();
}

// What the timer does within the next `ticks` of the counter.
void Hpet::match(unsigned number, uint64_t ticks) {
  Timer& timer = state_.timers[number];
  const uint64_t first = ticks_to_match(timer, state_.counter);
  if (first == 0 || first > ticks) return;
  if ((timer.config & kPeriodic) != 0 && timer.period != 0) {
    const uint64_t periods = (ticks - first) / timer.period + 1;
    timer.comparator = (timer.comparator + periods * timer.period) & width_mask(timer.config);
  }
  if ((timer.config & kLevel) != 0) {
    // The status is set without interrupts too.
    state_.status |= 1ull << number;
    drive_levels();
  } else if (const auto source = destination(timer, number)) {
    signal_edge(*source);
  }
}

void Hpet::set_deadline() {
  uint64_t deadline = EventQueue::kNever;
  for (unsigned i = 0; i < kTimers && counts(); ++i) {
    const Timer& timer = state_.timers[i];
    const bool waits = (timer.config & kLevel) == 0 || (state_.status >> i & 1) == 0;
    if (!waits || !destination(timer, i)) continue;
    // No run comes as far as the product would overflow.
    const uint64_t ticks = ticks_to_match(timer, state_.counter);
    constexpr uint64_t kMaxTicks = (1ull << 62) / kCyclesPerTick;
    if (ticks == 0 || ticks > kMaxTicks) continue;
    deadline = std::min(deadline, state_.since + ticks * kCyclesPerTick);
  }
  due_.set(deadline);
}

// --- interrupts

std::optional<unsigned> Hpet::destination(const Timer& timer, unsigned number) const {
  if ((timer.config & kInterrupts) == 0) return std::nullopt;
  if ((state_.config & kLegacyRoute) != 0 && number < kLegacySources) return number;
  const uint64_t line = route(timer.config);
  if (!is_route(line)) return std::nullopt;
  return kLegacySources + static_cast<unsigned>(line - kFirstLine);
}

void Hpet::signal_edge(unsigned source) {
  if (source < kLegacySources) {
    // An 8259 loses a request whose line falls: it stays high until the next one.
    sources_[source].set(false);
    sources_[source].set(true);
  } else if (!sources_[source].level()) {
    sources_[source].set(true);
    sources_[source].set(false);
  }
}

// What level-triggered timers drive. An edge-triggered one keeps its legacy line high.
void Hpet::drive_levels() {
  std::array<bool, kLegacySources + kLines> high{};
  for (unsigned i = 0; i < kTimers; ++i) {
    const auto source = destination(state_.timers[i], i);
    if (!source) continue;
    if ((state_.timers[i].config & kLevel) != 0) {
      high[*source] = high[*source] || (state_.status >> i & 1) != 0;
    } else if (*source < kLegacySources) {
      high[*source] = sources_[*source].level();
    }
  }
  for (unsigned i = 0; i < high.size(); ++i) {
    if (high[i] != sources_[i].level()) sources_[i].set(high[i]);
  }
}

// --- registers

uint64_t Hpet::read_memory(DeviceAddress at, unsigned size) {
  if (size < 4 || at.offset % size != 0) return 0;
  catch_up();
  return read_register(at.offset & ~7ull) >> (8 * (at.offset & 7));
}

void Hpet::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  if (size < 4 || at.offset % size != 0) return;
  catch_up();
  const auto shift = static_cast<unsigned>(8 * (at.offset & 7));
  const uint64_t written = size == 8 ? ~0ull : 0xffffffffull << shift;
  write_register(at.offset & ~7ull, written, value << shift & written);
  drive_levels();
  set_deadline();
}

uint64_t Hpet::read_register(uint64_t offset) const {
  switch (offset) {
    case kCapabilities:
      return kFemtosecondsPerTick << 32 | kIdentity;
    case kConfig:
      return state_.config;
    case kStatus:
      return state_.status;
    case kCounter:
      return state_.counter;
    default:
      break;
  }
  const uint64_t number = (offset - kFirstTimer) / kTimerBytes;
  if (offset < kFirstTimer || number >= kTimers) return 0;
  const Timer& timer = state_.timers[number];
  switch (offset % kTimerBytes) {
    case kTimerConfig:
      return timer.config | kTimerCapabilities;
    case kComparator:
      return timer.comparator;
    default:
      return 0;
  }
}

// `written`: the bits that the access reaches; the others of `value` are 0.
void Hpet::write_register(uint64_t offset, uint64_t written, uint64_t value) {
  const auto merged = [&](uint64_t old) { return (old & ~written) | value; };
  switch (offset) {
    case kConfig:
      write_config(merged(state_.config));
      return;
    case kStatus:
      state_.status &= ~value;
      return;
    case kCounter:
      state_.counter = merged(state_.counter);
      return;
    default:
      break;
  }
  const uint64_t number = (offset - kFirstTimer) / kTimerBytes;
  if (offset < kFirstTimer || number >= kTimers) return;
  write_timer(static_cast<unsigned>(number), offset % kTimerBytes, written, value);
}

void Hpet::write_config(uint64_t value) {
  const uint64_t before = state_.config;
  state_.config = value & (kEnabled | kLegacyRoute);
  // A halted counter keeps its value; the part of a tick that had passed is lost.
  if (((before ^ state_.config) & kEnabled) != 0) state_.since = clock_.cycles();
  // Before the others drive the lines again, those of the timers are low.
  if ((state_.config & kLegacyRoute) == 0) drive_levels();
  lines_.replace((state_.config & kLegacyRoute) != 0);
}

void Hpet::write_timer(unsigned number, uint64_t offset, uint64_t written, uint64_t value) {
  Timer& timer = state_.timers[number];
  if (offset == kTimerConfig) {
    uint64_t config = ((timer.config & ~written) | value) & kTimerWritable;
    // "If the value is not valid, then the value read back will not match."
    if (!is_route(route(config))) config = (config & ~kRouteBits) | (timer.config & kRouteBits);
    timer.config = config;
    timer.comparator &= width_mask(config);
    timer.period &= width_mask(config);
    // Without a level the status has no meaning.
    if ((config & kLevel) == 0) state_.status &= ~(1ull << number);
  } else if (offset == kComparator) {
    const auto merged = [&](uint64_t old) {
      return ((old & ~written) | value) & width_mask(timer.config);
    };
    const bool periodic = (timer.config & kPeriodic) != 0;
    // Software may write 8 bytes in two accesses: the upper half goes where the lower one went.
    constexpr uint64_t kLow32 = 0xffffffff;
    const bool is_upper = (written & kLow32) == 0;
    const bool follows = is_upper && ((timer.comparator ^ timer.period) & kLow32) == 0;
    if (!periodic || (timer.config & kSetsValue) != 0 || follows)
      timer.comparator = merged(timer.comparator);
    timer.period = merged(timer.period);
    timer.config &= ~kSetsValue;
  }
}

void Hpet::serialize(Archive& archive) {
  archive(state_);
  for (InterruptSource& source : sources_) source.serialize(archive);
  if (archive.loads()) lines_.restore_replacement((state_.config & kLegacyRoute) != 0);
}

}  // namespace nestor::emu
