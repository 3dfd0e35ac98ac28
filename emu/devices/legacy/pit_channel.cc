// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pit.h"

namespace nestor::emu {

// The counter is never stepped: everything follows from the ticks since it was loaded.

uint16_t PitChannel::from_register(uint16_t value) const {
  if (!state_.bcd) return value;
  return static_cast<uint16_t>((value >> 12) * 1000 + (value >> 8 & 15) * 100 +
                               (value >> 4 & 15) * 10 + (value & 15));
}

uint16_t PitChannel::to_register(uint64_t value) const {
  if (!state_.bcd) return static_cast<uint16_t>(value);
  value %= 10000;
  return static_cast<uint16_t>(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                               value % 10);
}

void PitChannel::write_control(uint8_t control, uint64_t now) {
  if ((control >> 4 & 3) == 0) return latch_count(now);
  state_.access = control >> 4 & 3;
  state_.mode = control >> 1 & 7;
  if (state_.mode > 5) state_.mode &= 3;  // bit 2 of modes 2 and 3 is not looked at
  state_.bcd = control & 1;
  state_.loaded = state_.running = false;
  state_.elapsed = 0;
  state_.high_next_write = state_.high_next_read = false;
  state_.latched_count.reset();
  state_.latched_status.reset();
}

void PitChannel::write_count(uint8_t value, uint64_t now) {
  uint16_t whole = 0;
  if (state_.access == 1) {
    whole = value;
  } else if (state_.access == 2) {
    whole = static_cast<uint16_t>(value << 8);
  } else if (!state_.high_next_write) {
    state_.low_byte = value;
    state_.high_next_write = true;
    if (state_.mode == 0) stop(now);  // the first byte of a new count stops mode 0
    return;
  } else {
    state_.high_next_write = false;
    whole = static_cast<uint16_t>(value << 8 | state_.low_byte);
  }
  const bool first = !state_.loaded;
  state_.reload = from_register(whole);
  if (state_.reload == 0) state_.reload = state_.bcd ? 10000 : 0x10000;
  state_.loaded = true;
  if (triggered_by_gate()) return;  // the count waits for the gate
  // A periodic counter takes a new count at once rather than at the end of its period.
  if (!periodic() || first || elapsed(now) >= state_.reload) start(now);
}

void PitChannel::start(uint64_t now) {
  state_.elapsed = 0;
  state_.since = now;
  state_.running = state_.loaded && (state_.gate || triggered_by_gate());
}

void PitChannel::stop(uint64_t now) {
  state_.elapsed = elapsed(now);
  state_.running = false;
}

void PitChannel::set_gate(bool level, uint64_t now) {
  if (level == state_.gate) return;
  state_.gate = level;
  if (!state_.loaded) return;
  if (level && (periodic() || triggered_by_gate())) {
    start(now);
  } else if (level) {
    state_.since = now;
    state_.running = true;
  } else if (!triggered_by_gate()) {
    stop(now);
  }
}

uint64_t PitChannel::count(uint64_t now) const {
  if (!state_.loaded) return 0;
  const uint64_t passed = elapsed(now);
  if (state_.mode == 2) return state_.reload - passed % state_.reload;
  if (state_.mode == 3) {
    // The square wave counts down by two, twice a period.
    const uint64_t phase = passed % state_.reload, high = (state_.reload + 1) / 2;
    return (state_.reload & ~1ull) - 2 * (phase < high ? phase : phase - high);
  }
  return state_.reload - passed;  // goes on below zero, modulo the counter's width
}

bool PitChannel::output(uint64_t now) const {
  const uint64_t passed = elapsed(now);
  if (!state_.loaded || (triggered_by_gate() && !state_.running)) return state_.mode != 0;
  switch (state_.mode) {
    case 0:
    case 1:
      return passed >= state_.reload;
    case 2:
      return !state_.running || passed % state_.reload != state_.reload - 1;
    case 3:
      return !state_.running || passed % state_.reload < (state_.reload + 1) / 2;
    default:
      return passed != state_.reload;
  }
}

std::optional<uint64_t> PitChannel::next_rise(uint64_t now) const {
  if (!state_.running) return std::nullopt;
  const uint64_t passed = elapsed(now), left = state_.reload - passed % state_.reload;
  if (periodic()) return now + left;
  const uint64_t rise = state_.mode >= 4 ? state_.reload + 1 : state_.reload;
  if (passed >= rise) return std::nullopt;
  return now + (rise - passed);
}

void PitChannel::latch_count(uint64_t now) {
  if (!state_.latched_count) state_.latched_count = to_register(count(now));
}

void PitChannel::latch_status(uint64_t now) {
  if (state_.latched_status) return;
  state_.latched_status =
      static_cast<uint8_t>((output(now) ? 0x80 : 0) | (state_.loaded ? 0 : 0x40) |
                           state_.access << 4 | state_.mode << 1 | (state_.bcd ? 1 : 0));
}

uint8_t PitChannel::read_count(uint64_t now) {
  if (state_.latched_status) {
    const uint8_t status = *state_.latched_status;
    state_.latched_status.reset();
    return status;
  }
  const uint16_t value = state_.latched_count ? *state_.latched_count : to_register(count(now));
  const bool high = state_.access == 2 || (state_.access == 3 && state_.high_next_read);
  if (state_.access == 3) state_.high_next_read = !state_.high_next_read;
  if (state_.access != 3 || high) state_.latched_count.reset();
  return static_cast<uint8_t>(high ? value >> 8 : value);
}

}  // namespace nestor::emu
