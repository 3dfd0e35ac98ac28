// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code that tests price.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "emu/decode/decoder.h"
#include "emu/timing/accumulator.h"
#include "emu/timing/block_price.h"
#include "emu/timing/processor.h"
#include "tests/emu/assembled_code.h"

namespace nestor::emu::timing::test {

using Code = std::vector<uint8_t>;
using vmx::Generation;

inline const Processor& core_of(Generation generation) { return *find_processor(generation); }

inline std::vector<InstructionPrice> priced(const Code& code,
                                            Generation generation = Generation::kSkylake,
                                            CodeMode mode = CodeMode::k64) {
  Decoder decoder;
  std::vector<uint8_t> lengths;
  for (size_t at = 0; at < code.size();) {
    const auto instruction = decoder.decode(std::span(code).subspan(at), mode);
    if (!instruction) {
      ADD_FAILURE() << "byte " << at << " starts no instruction";
      return {};
    }
    lengths.push_back(instruction->length);
    at += instruction->length;
  }
  return price_instructions(code, lengths, mode, core_of(generation));
}

inline BlockPrice block_price(const Code& code, Generation generation = Generation::kSkylake,
                              Repetition repetition = Repetition::kUnrolled) {
  return price_block(priced(code, generation), core_of(generation), repetition);
}

inline double bound(const Code& code, Bound which, Generation generation = Generation::kSkylake,
                    Repetition repetition = Repetition::kUnrolled) {
  return block_price(code, generation, repetition).bound[static_cast<size_t>(which)];
}

inline double latency(const Code& code, Generation generation = Generation::kSkylake) {
  return bound(code, Bound::kLatency, generation);
}

// "2*06+23": the ports, each in hexadecimal.
inline std::string ports_of(const InstructionPrice& price) {
  std::string text;
  for (const PortUse& use : price.uses()) {
    if (!text.empty()) text += "+";
    if (use.cycles != 1) text += std::to_string(use.cycles) + "*";
    for (unsigned port = 0; port < 16; ++port)
      if ((use.ports >> port & 1) != 0) text += "0123456789abcdef"[port];
  }
  return text;
}

// The code so many times.
inline Code repeated(const Code& code, size_t times) {
  Code all;
  for (size_t i = 0; i < times; ++i) all.insert(all.end(), code.begin(), code.end());
  return all;
}

inline Code operator+(Code first, const Code& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace nestor::emu::timing::test
