// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/rtc.h"

#include <algorithm>
#include <chrono>

namespace nestor::emu {
namespace {

enum Index : uint8_t {
  kSeconds = 0x00,
  kMinutes = 0x02,
  kHours = 0x04,
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
constexpr uint64_t kIndexPort = 0;                  // the other port is the data
constexpr uint8_t k24Hours = 0x02, kBinary = 0x04;  // status B
constexpr uint8_t kPm = 0x80;

}  // namespace

Rtc::Rtc(const Clock& clock, uint64_t memory_size) : clock_(clock) {
  state_.memory[kStatusA] = 0x26;  // 32768 Hz, the usual periodic rate; no update in progress
  state_.memory[kStatusB] = k24Hours;
  state_.memory[kStatusD] = 0x80;  // the battery is good
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

uint32_t Rtc::read_port(DeviceAddress at, unsigned /*size*/) {
  return at.offset == kIndexPort ? 0xff : read_time(state_.index);
}

void Rtc::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  if (at.offset == kIndexPort) {
    state_.index = value & 0x7f;  // bit 7 masks NMI, of which there is no source
    return;
  }
  // The time belongs to the virtual clock; status C and D are read-only. Alarms never come.
  if (state_.index == kStatusC || state_.index == kStatusD) return;
  state_.memory[state_.index] = static_cast<uint8_t>(value);
}

uint8_t Rtc::encode(unsigned value) const {
  if (state_.memory[kStatusB] & kBinary) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 << 4 | value % 10);
}

uint8_t Rtc::read_time(uint8_t index) const {
  using std::chrono::days;
  const std::chrono::sys_seconds time{
      std::chrono::seconds(kResetTime + static_cast<int64_t>(clock_.cycles() / Clock::kFrequency))};
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  switch (index) {
    case kSeconds:
      return encode(static_cast<unsigned>(clock.seconds().count()));
    case kMinutes:
      return encode(static_cast<unsigned>(clock.minutes().count()));
    case kHours: {
      const auto hour = static_cast<unsigned>(clock.hours().count());
      if (state_.memory[kStatusB] & k24Hours) return encode(hour);
      const uint8_t half_day = encode(hour % 12 == 0 ? 12 : hour % 12);
      return hour < 12 ? half_day : half_day | kPm;
    }
    case kWeekday:
      return encode(std::chrono::weekday(day).c_encoding() + 1);
    case kDay:
      return encode(static_cast<unsigned>(date.day()));
    case kMonth:
      return encode(static_cast<unsigned>(date.month()));
    case kYear:
      return encode(year % 100);
    case kCentury:
      return encode(year / 100);
    default:
      return state_.memory[index];
  }
}

}  // namespace nestor::emu
