// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pit.h"

namespace nestor::emu {

// The counter is never stepped: everything follows from the ticks since it was loaded.

uint16_t PitChannel::from_register(uint16_t value) const {
  if (!bcd_) return value;
  return static_cast<uint16_t>((value >> 12) * 1000 + (value >> 8 & 15) * 100 +
                               (value >> 4 & 15) * 10 + (value & 15));
}

uint16_t PitChannel::to_register(uint64_t value) const {
  if (!bcd_) return static_cast<uint16_t>(value);
  value %= 10000;
  return static_cast<uint16_t>(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                               value % 10);
}

void PitChannel::write_control(uint8_t control, uint64_t now) {
  if ((control >> 4 & 3) == 0) return latch_count(now);
  access_ = control >> 4 & 3;
  mode_ = control >> 1 & 7;
  if (mode_ > 5) mode_ &= 3;  // bit 2 of modes 2 and 3 is not looked at
  bcd_ = control & 1;
  loaded_ = running_ = false;
  elapsed_ = 0;
  high_next_write_ = high_next_read_ = false;
  latched_count_.reset();
  latched_status_.reset();
}

void PitChannel::write_count(uint8_t value, uint64_t now) {
  uint16_t whole = 0;
  if (access_ == 1) {
    whole = value;
  } else if (access_ == 2) {
    whole = static_cast<uint16_t>(value << 8);
  } else if (!high_next_write_) {
    low_byte_ = value;
    high_next_write_ = true;
    if (mode_ == 0) stop(now);  // the first byte of a new count stops mode 0
    return;
  } else {
    high_next_write_ = false;
    whole = static_cast<uint16_t>(value << 8 | low_byte_);
  }
  const bool first = !loaded_;
  reload_ = from_register(whole);
  if (reload_ == 0) reload_ = bcd_ ? 10000 : 0x10000;
  loaded_ = true;
  if (triggered_by_gate()) return;  // the count waits for the gate
  // A periodic counter takes a new count at once rather than at the end of its period.
  if (!periodic() || first || elapsed(now) >= reload_) start(now);
}

void PitChannel::start(uint64_t now) {
  elapsed_ = 0;
  since_ = now;
  running_ = loaded_ && (gate_ || triggered_by_gate());
}

void PitChannel::stop(uint64_t now) {
  elapsed_ = elapsed(now);
  running_ = false;
}

void PitChannel::set_gate(bool level, uint64_t now) {
  if (level == gate_) return;
  gate_ = level;
  if (!loaded_) return;
  if (level && (periodic() || triggered_by_gate())) {
    start(now);
  } else if (level) {
    since_ = now;
    running_ = true;
  } else if (!triggered_by_gate()) {
    stop(now);
  }
}

uint64_t PitChannel::count(uint64_t now) const {
  if (!loaded_) return 0;
  const uint64_t passed = elapsed(now);
  if (mode_ == 2) return reload_ - passed % reload_;
  if (mode_ == 3) {
    // The square wave counts down by two, twice a period.
    const uint64_t phase = passed % reload_, high = (reload_ + 1) / 2;
    return (reload_ & ~1ull) - 2 * (phase < high ? phase : phase - high);
  }
  return reload_ - passed;  // goes on below zero, modulo the counter's width
}

bool PitChannel::output(uint64_t now) const {
  const uint64_t passed = elapsed(now);
  if (!loaded_ || (triggered_by_gate() && !running_)) return mode_ != 0;
  switch (mode_) {
    case 0:
    case 1:
      return passed >= reload_;
    case 2:
      return !running_ || passed % reload_ != reload_ - 1;
    case 3:
      return !running_ || passed % reload_ < (reload_ + 1) / 2;
    default:
      return passed != reload_;
  }
}

std::optional<uint64_t> PitChannel::next_rise(uint64_t now) const {
  if (!running_) return std::nullopt;
  const uint64_t passed = elapsed(now), left = reload_ - passed % reload_;
  if (periodic()) return now + left;
  const uint64_t rise = mode_ >= 4 ? reload_ + 1 : reload_;
  if (passed >= rise) return std::nullopt;
  return now + (rise - passed);
}

void PitChannel::latch_count(uint64_t now) {
  if (!latched_count_) latched_count_ = to_register(count(now));
}

void PitChannel::latch_status(uint64_t now) {
  if (latched_status_) return;
  latched_status_ = static_cast<uint8_t>((output(now) ? 0x80 : 0) | (loaded_ ? 0 : 0x40) |
                                         access_ << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
}

uint8_t PitChannel::read_count(uint64_t now) {
  if (latched_status_) {
    const uint8_t status = *latched_status_;
    latched_status_.reset();
    return status;
  }
  const uint16_t value = latched_count_ ? *latched_count_ : to_register(count(now));
  const bool high = access_ == 2 || (access_ == 3 && high_next_read_);
  if (access_ == 3) high_next_read_ = !high_next_read_;
  if (access_ != 3 || high) latched_count_.reset();
  return static_cast<uint8_t>(high ? value >> 8 : value);
}

}  // namespace nestor::emu
