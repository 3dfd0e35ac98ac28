// SPDX-License-Identifier: GPL-2.0-or-later
//
// What must be so when a block is entered, for the engine to execute it as a whole: it checks
// neither segments nor alignment, so that whoever knows the code states what its operands demand of
// the registers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace nestor::emu {

// The sum of two registers, one of them scaled, and a constant lies in a range, as far as the bits
// of `mask` go.
struct EntryCondition {
  static constexpr uint8_t kNoRegister = 0xff;

  uint8_t base = kNoRegister, index = kNoRegister;  // vmx::Gpr
  uint8_t scale = 1;
  uint64_t constant = 0, mask = ~0ull;
  uint64_t least = 0, most = 0;  // inclusive

  bool holds(const std::array<uint64_t, 16>& registers) const {
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
