// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a basic block costs that is executed over and over, and why.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "emu/timing/front_end.h"
#include "emu/timing/instruction_price.h"
#include "emu/timing/processor.h"

namespace nestor::emu::timing {

enum class Bound : uint8_t { kPredecode, kDecode, kDsb, kLsd, kIssue, kPorts, kLatency };
inline constexpr unsigned kBounds = 7;
std::string_view name_of(Bound bound);

struct BlockPrice {
  std::array<double, kBounds> bound{};  // cycles for one execution
  std::array<bool, kBounds> applies{};  // whether the code comes that way
  uint16_t busiest_ports = 0;           // of the bound of the ports; 0: it takes none

  double cycles() const;
  Bound bottleneck() const;  // the first of those that apply and are the largest
};

// The prices of instructions that follow each other, with macro-fusion. `lengths` are those of the
// valid instructions in `code`.
std::vector<InstructionPrice> price_instructions(std::span<const uint8_t> code,
                                                 std::span<const uint8_t> lengths, CodeMode mode,
                                                 const Processor& processor);

BlockPrice price_block(Prices prices, const Processor& processor, Repetition repetition);

}  // namespace nestor::emu::timing
