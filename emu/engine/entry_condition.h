// SPDX-License-Identifier: GPL-2.0-or-later
//
// What must be so when a block is entered, for the engine to execute it as a whole: it checks
// neither segments nor alignment, and knows no floating-point exceptions, so that whoever knows the
// code states what its instructions demand of the registers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nestor::emu {

// The general registers, and behind them others that conditions are about.
inline constexpr size_t kEntryValues = 19;
using EntryValues = std::array<uint64_t, kEntryValues>;

// The sum of two registers, one of them scaled, and a constant lies in a range, as far as the bits
// of `mask` go.
struct EntryCondition {
  static constexpr uint8_t kNoRegister = 0xff;
  // Of RFLAGS what is no status flag. FOP is not 0 if FOP or FDP record an unmasked exception.
  static constexpr uint8_t kRflags = 16, kFcw = 17, kFop = 18;

  uint8_t base = kNoRegister, index = kNoRegister;  // vmx::Gpr, or one of these
  uint8_t scale = 1;
  uint64_t constant = 0, mask = ~0ull;
  uint64_t least = 0, most = 0;  // inclusive

  bool holds(const EntryValues& registers) const {
    uint64_t sum = constant;
    if (base != kNoRegister) sum += registers[base];
    if (index != kNoRegister) sum += registers[index] * scale;
    sum &= mask;
    return sum >= least && sum <= most;
  }
  bool operator==(const EntryCondition&) const = default;
};

using EntryConditions = std::vector<EntryCondition>;

}  // namespace nestor::emu
