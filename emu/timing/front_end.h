// SPDX-License-Identifier: GPL-2.0-or-later
//
// How fast instructions come to where they are issued: the bounds of A. Abel, S. Sharma and
// J. Reineke, "Facile: Fast, Accurate, and Interpretable Basic-Block Throughput Prediction"
// (arXiv 2310.13212). All are cycles for one execution of the instructions, over and over.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "emu/timing/instruction_price.h"
#include "emu/timing/processor.h"

namespace nestor::emu::timing {

using Prices = std::span<const InstructionPrice>;

// Unrolled: copies follow each other in memory; looped: the same bytes are executed again.
enum class Repetition : uint8_t { kUnrolled, kLooped };

// Of code that starts at an address that is a multiple of 16.
double predecode_bound(Prices prices, const Processor& processor, Repetition repetition);
double decode_bound(Prices prices, const Processor& processor);
// From the decoded ICache, and from the loop stream detector: of loops.
double dsb_bound(Prices prices, const Processor& processor);
double lsd_bound(Prices prices, const Processor& processor);
bool fits_lsd(Prices prices, const Processor& processor);
// Whether a jump keeps code at this address out of the decoded ICache.
bool has_jcc_erratum(Prices prices, const Processor& processor, uint64_t address);
double issue_bound(Prices prices, const Processor& processor, Repetition repetition);

// What code that is executed once takes of the predecoder. Code right after it may share a window
// of 16 bytes with it.
struct PredecodeUse {
  uint64_t begin = 0, end = 0;  // addresses
  uint32_t cycles = 0;          // if it shares none
  uint8_t first = 0, last = 0;  // instructions in the first and the last window
  bool one_window = true;
};
PredecodeUse predecode_use(Prices prices, const Processor& processor, uint64_t address);

// Which decoders the last cycle has used, of how many that it can; as a number below kCount.
struct DecoderState {
  static constexpr unsigned kMaxDecoders = 4, kCount = (kMaxDecoders + 1) * (kMaxDecoders + 1);
  uint8_t used = 0, limit = 0;

  constexpr unsigned number() const { return limit * (kMaxDecoders + 1) + used; }
  static constexpr DecoderState from(unsigned number) {
    return {static_cast<uint8_t>(number % (kMaxDecoders + 1)),
            static_cast<uint8_t>(number / (kMaxDecoders + 1))};
  }
};

// What it takes of the decoders, after code that has left them in each state.
struct DecodeUse {
  struct Step {
    uint16_t cycles = 0;
    uint8_t after = 0;  // DecoderState::number()
  };
  std::array<Step, DecoderState::kCount> from{};
};
DecodeUse decode_use(Prices prices, const Processor& processor);

}  // namespace nestor::emu::timing
