// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/rtc.h"

#include <algorithm>
#include <utility>

namespace nestor::emu {
namespace {

enum Index : uint8_t {
  kSeconds = 0x00,
  kSecondsAlarm = 0x01,
  kMinutes = 0x02,
  kMinutesAlarm = 0x03,
  kHours = 0x04,
  kHoursAlarm = 0x05,
  kWeekday = 0x06,
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kStatusA = 0x0a,
  kStatusB = 0x0b,
  kStatusC = 0x0c,
  kStatusD = 0x0d,
  kBaseMemory = 0x15,
  kExtendedMemory = 0x17,
  kExtendedMemory2 = 0x30,
  kCentury = 0x32,
  kMemoryAbove16M = 0x34,
  kMemoryAbove4G = 0x5b,
};
constexpr uint64_t kIndexPort = 0;  // the other port is the data
// Status A.
constexpr uint8_t kUpdateInProgress = 0x80, kDivider = 0x70, k32768Hz = 0x20, kRate = 0x0f;
// Status B.
constexpr uint8_t k24Hours = 0x02, kBinary = 0x04, kSet = 0x80;
// Of status B, which enables, and of status C.
constexpr uint8_t kUpdateEnded = 0x10, kAlarm = 0x20, kPeriodic = 0x40,
                  kCauses = kUpdateEnded | kAlarm | kPeriodic, kRequest = 0x80;
constexpr uint8_t kPm = 0x80;
constexpr uint8_t kDoNotCare = 0xc0;  // in an alarm

constexpr unsigned kSecondsOfDay = 86'400;

}  // namespace

void Rtc::State::fields(Archive& archive) {
  archive(memory, index, start, phase, ticks);
  archive.require(index < memory.size());
  archive.require(start < 1ull << 62 && phase < kFrequency && ticks < 1ull << 62);
  archive.require((memory[kStatusA] & kUpdateInProgress) == 0);
}

Rtc::Rtc(const Clock& clock, EventQueue& timers, uint64_t memory_size, InterruptSource interrupt)
    : clock_(clock),
      due_(timers, "real-time clock", [this](uint64_t) { catch_up(); }),
      interrupt_(std::move(interrupt)) {
  state_.memory[kStatusA] = 0x26;  // 32768 Hz, the usual periodic rate; no update in progress
  state_.memory[kStatusB] = k24Hours;
  state_.memory[kStatusD] = 0x80;  // the battery is good
  set_time(std::chrono::sys_seconds{std::chrono::seconds(kResetTime)});
  const auto store = [&](uint8_t index, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
      state_.memory[index + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  constexpr uint64_t kMiB = 1ull << 20, k3GiB = 3ull << 30;
  const uint64_t low = std::min(memory_size, k3GiB);
  const uint64_t extended = std::min<uint64_t>((low - std::min(low, kMiB)) >> 10, 0xffff);
  store(kBaseMemory, 640, 2);
  store(kExtendedMemory, extended, 2);
  store(kExtendedMemory2, extended, 2);
  store(kMemoryAbove16M, (low - std::min(low, 16 * kMiB)) >> 16, 2);
  store(kMemoryAbove4G, (memory_size - low) >> 16, 3);
}

// --- the divider

bool Rtc::divider_runs() const { return (state_.memory[kStatusA] & kDivider) == k32768Hz; }

// SET keeps the time as it is, while the divider runs on.
bool Rtc::updates() const { return divider_runs() && !(state_.memory[kStatusB] & kSet); }

uint64_t Rtc::period() const {
  const unsigned rate = state_.memory[kStatusA] & kRate;
  if (rate == 0) return 0;
  // The two lowest rates are those of 8 and 9.
  return 1ull << ((rate < 3 ? rate + 7 : rate) - 1);
}

uint64_t Rtc::ticks_now() const {
  constexpr uint64_t kClock = Clock::kFrequency;
  if (!divider_runs() || clock_.cycles() < state_.start) return state_.ticks;
  const uint64_t cycles = clock_.cycles() - state_.start;
  return state_.phase + cycles / kClock * kFrequency + cycles % kClock * kFrequency / kClock;
}

// The first cycle that belongs to the tick, which is after the release of the divider.
uint64_t Rtc::to_cycles(uint64_t ticks) const {
  constexpr uint64_t kClock = Clock::kFrequency;
  const uint64_t passed = ticks - std::min(ticks, state_.phase);
  const uint64_t rest = passed % kFrequency * kClock;
  return state_.start + passed / kFrequency * kClock + (rest + kFrequency - 1) / kFrequency;
}

void Rtc::catch_up() {
  const uint64_t before = state_.ticks, now = std::max(before, ticks_now());
  state_.ticks = now;
  if (period() != 0 && now / period() != before / period()) state_.memory[kStatusC] |= kPeriodic;
  const uint64_t seconds = now / kFrequency - before / kFrequency;
  if (seconds != 0 && updates()) advance(seconds);
  update_interrupt();
}

void Rtc::advance(uint64_t seconds) {
  state_.memory[kStatusC] |= kUpdateEnded;
  if (const auto alarm = seconds_to_alarm(); alarm && *alarm <= seconds)
    state_.memory[kStatusC] |= kAlarm;
  // What is no time stays as it is.
  const auto old = time();
  if (!old) return;
  const auto day = [](std::chrono::sys_seconds of) {
    return std::chrono::floor<std::chrono::days>(of).time_since_epoch().count();
  };
  const auto next = *old + std::chrono::seconds(seconds);
  // The weekday is counted, not computed.
  const auto weekday = decode(state_.memory[kWeekday], 1, 7);
  const auto days = static_cast<unsigned>((day(next) - day(*old)) % 7);
  set_time(next);
  if (weekday) state_.memory[kWeekday] = encode((*weekday - 1 + days) % 7 + 1);
}

// --- time and its formats

uint8_t Rtc::encode(unsigned value) const {
  if (state_.memory[kStatusB] & kBinary) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 << 4 | value % 10);
}

uint8_t Rtc::encode_hour(unsigned hour) const {
  if (state_.memory[kStatusB] & k24Hours) return encode(hour);
  const uint8_t half_day = encode(hour % 12 == 0 ? 12 : hour % 12);
  return hour < 12 ? half_day : half_day | kPm;
}

// std::nullopt: it is no number from `min` to `max`.
std::optional<unsigned> Rtc::decode(uint8_t value, unsigned min, unsigned max) const {
  unsigned number = value;
  if (!(state_.memory[kStatusB] & kBinary)) {
    if ((value & 0x0f) > 9 || value >> 4 > 9) return std::nullopt;
    number = (value >> 4) * 10u + (value & 0x0f);
  }
  return number >= min && number <= max ? std::optional(number) : std::nullopt;
}

std::optional<unsigned> Rtc::decode_hour(uint8_t value) const {
  if (state_.memory[kStatusB] & k24Hours) return decode(value, 0, 23);
  const auto half_day = decode(value & static_cast<uint8_t>(~kPm), 1, 12);
  if (!half_day) return std::nullopt;
  return *half_day % 12 + (value & kPm ? 12 : 0);
}

std::optional<std::chrono::sys_seconds> Rtc::time() const {
  const auto& memory = state_.memory;
  const auto second = decode(memory[kSeconds], 0, 59), minute = decode(memory[kMinutes], 0, 59),
             hour = decode_hour(memory[kHours]), day = decode(memory[kDay], 1, 31),
             month = decode(memory[kMonth], 1, 12), year = decode(memory[kYear], 0, 99),
             century = decode(memory[kCentury], 0, 99);
  if (!second || !minute || !hour || !day || !month || !year || !century) return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year(static_cast<int>(*century * 100 + *year)), std::chrono::month(*month),
      std::chrono::day(*day)};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days{date} + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second);
}

void Rtc::set_time(std::chrono::sys_seconds time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  auto& memory = state_.memory;
  memory[kSeconds] = encode(static_cast<unsigned>(clock.seconds().count()));
  memory[kMinutes] = encode(static_cast<unsigned>(clock.minutes().count()));
  memory[kHours] = encode_hour(static_cast<unsigned>(clock.hours().count()));
  memory[kWeekday] = encode(std::chrono::weekday(day).c_encoding() + 1);
  memory[kDay] = encode(static_cast<unsigned>(date.day()));
  memory[kMonth] = encode(static_cast<unsigned>(date.month()));
  memory[kYear] = encode(year % 100);
  memory[kCentury] = encode(year / 100 % 100);
}

std::optional<uint64_t> Rtc::seconds_to_alarm() const {
  const auto& memory = state_.memory;
  const auto second = decode(memory[kSeconds], 0, 59), minute = decode(memory[kMinutes], 0, 59),
             hour = decode_hour(memory[kHours]);
  if (!second || !minute || !hour) return std::nullopt;
  const unsigned now = *hour * 3600 + *minute * 60 + *second;
  const auto matches = [&](Index alarm, uint8_t value) {
    return (memory[alarm] & kDoNotCare) == kDoNotCare || memory[alarm] == value;
  };
  // Whole hours and minutes that do not match are passed over.
  for (unsigned ahead = 1; ahead <= kSecondsOfDay;) {
    const unsigned then = (now + ahead) % kSecondsOfDay;
    if (!matches(kHoursAlarm, encode_hour(then / 3600))) {
      ahead += 3600 - then % 3600;
    } else if (!matches(kMinutesAlarm, encode(then / 60 % 60))) {
      ahead += 60 - then % 60;
    } else if (!matches(kSecondsAlarm, encode(then % 60))) {
      ++ahead;
    } else {
      return ahead;
    }
  }
  return std::nullopt;
}

// --- interrupts

void Rtc::update_interrupt() {
  auto& memory = state_.memory;
  const bool request = (memory[kStatusB] & memory[kStatusC] & kCauses) != 0;
  memory[kStatusC] = static_cast<uint8_t>((memory[kStatusC] & kCauses) | (request ? kRequest : 0));
  if (request != interrupt_.level()) interrupt_.set(request);
  set_deadline();
}

void Rtc::set_deadline() {
  const uint8_t enabled = state_.memory[kStatusB];
  uint64_t next = EventQueue::kNever;  // a tick
  if (divider_runs() && !interrupt_.level()) {
    const uint64_t second = state_.ticks / kFrequency;
    if ((enabled & kPeriodic) != 0 && period() != 0)
      next = (state_.ticks / period() + 1) * period();
    if ((enabled & kUpdateEnded) != 0 && updates())
      next = std::min(next, (second + 1) * kFrequency);
    if (const auto alarm = seconds_to_alarm(); (enabled & kAlarm) != 0 && updates() && alarm)
      next = std::min(next, (second + *alarm) * kFrequency);
  }
  due_.set(next == EventQueue::kNever ? EventQueue::kNever : to_cycles(next));
}

// --- registers

uint32_t Rtc::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.offset == kIndexPort) return 0xff;
  catch_up();
  const uint8_t value = state_.memory[state_.index];
  if (state_.index == kStatusA) {
    const bool soon = kFrequency - state_.ticks % kFrequency <= kUpdateTicks;
    return updates() && soon ? value | kUpdateInProgress : value;
  }
  if (state_.index == kStatusC) {
    state_.memory[kStatusC] = 0;
    update_interrupt();
  }
  return value;
}

void Rtc::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  if (at.offset == kIndexPort) {
    state_.index = value & 0x7f;  // bit 7 masks NMI, of which there is no source
    return;
  }
  catch_up();
  write_data(static_cast<uint8_t>(value));
  update_interrupt();
}

void Rtc::write_data(uint8_t value) {
  auto& memory = state_.memory;
  switch (state_.index) {
    case kStatusA: {
      const bool ran = divider_runs();
      memory[kStatusA] = value & static_cast<uint8_t>(~kUpdateInProgress);
      if (ran || !divider_runs()) break;
      // The first update comes half a second after the divider is released.
      state_.start = clock_.cycles();
      state_.phase = state_.ticks = kFrequency / 2;
      break;
    }
    case kStatusB: {
      // With another format, the time is in that one. Between writes of the parts it is not known.
      const auto now = memory[kStatusB] & kSet ? std::nullopt : time();
      const bool other_format = ((memory[kStatusB] ^ value) & (k24Hours | kBinary)) != 0;
      const uint8_t weekday = memory[kWeekday];
      memory[kStatusB] = value;
      if (value & kSet) memory[kStatusB] &= static_cast<uint8_t>(~kUpdateEnded);
      if (!other_format || !now) break;
      set_time(*now);
      memory[kWeekday] = weekday;  // the same in all formats
      break;
    }
    case kStatusC:
    case kStatusD:
      break;  // read-only
    default:
      memory[state_.index] = value;
      break;
  }
}

}  // namespace nestor::emu
