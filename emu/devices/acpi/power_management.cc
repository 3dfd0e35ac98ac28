// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/acpi/power_management.h"

#include <utility>

namespace nestor::emu {
namespace {

enum RegionIndex : unsigned { kEvent, kControl };  // the third one is the timer

constexpr uint32_t kTimerStatus = 1u << 0;  // and TMR_EN
constexpr unsigned kTopBit = 23;            // of the timer
// Of PM1 control. What is written to the others is kept.
constexpr uint16_t kSciEnabled = 1u << 0, kGlobalRelease = 1u << 2, kSleepEnable = 1u << 13;
constexpr unsigned kSleepTypeShift = 10;
constexpr uint16_t kSleepTypeMask = 7;

// The bits of a register of 32 bits that an access of `size` bytes at `offset` writes.
constexpr uint32_t written_bits(uint64_t offset, unsigned size) {
  return static_cast<uint32_t>(((1ull << (8 * size)) - 1) << (8 * offset));
}

}  // namespace

PowerManagement::PowerManagement(const Clock& clock, EventQueue& timers, InterruptSource sci,
                                 std::function<void()> power_off)
    : clock_(clock),
      carry_(timers, "ACPI PM timer", [this](uint64_t) { update(); }),
      sci_(std::move(sci)),
      power_off_(std::move(power_off)) {}

uint64_t PowerManagement::ticks() const {
  // Split so that the product cannot overflow.
  constexpr uint64_t kClock = Clock::kFrequency;
  const uint64_t cycles = clock_.cycles();
  return cycles / kClock * kFrequency + cycles % kClock * kFrequency / kClock;
}

uint64_t PowerManagement::carries() const { return ticks() >> kTopBit; }

uint32_t PowerManagement::read_port(DeviceAddress at, unsigned /*size*/) {
  switch (at.region) {
    case kEvent: {
      const uint32_t status = carried() ? kTimerStatus : 0;
      return (status | uint32_t{state_.enable} << 16) >> (8 * at.offset);
    }
    case kControl:
      return static_cast<uint32_t>(state_.control | kSciEnabled) >> (8 * at.offset);
    default:
      return static_cast<uint32_t>((ticks() & 0xffffff) >> (8 * at.offset));
  }
}

void PowerManagement::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  const uint32_t mask = written_bits(at.offset, size);
  value = value << (8 * at.offset) & mask;
  if (at.region == kEvent) {
    if ((value & kTimerStatus) != 0) state_.carries = carries();
    const uint32_t enable = (uint32_t{state_.enable} << 16 & ~mask) | value;
    state_.enable = static_cast<uint16_t>(enable >> 16);
    update();
  } else if (at.region == kControl) {
    write_control(static_cast<uint16_t>((state_.control & ~mask) | value));
  }
}

void PowerManagement::write_control(uint16_t value) {
  state_.control = value & static_cast<uint16_t>(~(kSciEnabled | kGlobalRelease | kSleepEnable));
  const bool off = (value >> kSleepTypeShift & kSleepTypeMask) == kSoftOff;
  if ((value & kSleepEnable) != 0 && off && power_off_) power_off_();
}

// The interrupt, and when it is due next.
void PowerManagement::update() {
  const bool enabled = (state_.enable & kTimerStatus) != 0;
  sci_.set(enabled && carried());
  if (!enabled || carried()) {
    carry_.set(EventQueue::kNever);
    return;
  }
  const uint64_t next = (carries() + 1) << kTopBit;
  constexpr uint64_t kClock = Clock::kFrequency;
  carry_.set(next / kFrequency * kClock +
             (next % kFrequency * kClock + kFrequency - 1) / kFrequency);
}

}  // namespace nestor::emu
