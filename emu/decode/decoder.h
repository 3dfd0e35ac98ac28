// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/decode/instruction.h"

struct cs_insn;

namespace nestor::emu {

class Decoder {
 public:
  // Throws std::runtime_error when Capstone cannot decode x86.
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // The instruction at the start of `bytes`. std::nullopt: it is invalid, or longer than `bytes`.
  std::optional<Instruction> decode(std::span<const uint8_t> bytes, CodeMode mode);

  // The offsets into `bytes` at which instructions start, from offset 0; returns how many of `offsets`
  // were written. Ends at the first byte that starts no whole instruction, or when `offsets` is full.
  unsigned instruction_starts(std::span<const uint8_t> bytes, CodeMode mode,
                              std::span<uint16_t> offsets);

 private:
  static constexpr unsigned kModes = 3;
  struct Handle {
    size_t full = 0, boundaries = 0;  // csh with and without detail
    cs_insn* instruction = nullptr;
    cs_insn* boundary = nullptr;
  };

  bool run(unsigned mode, std::span<const uint8_t> bytes);

  Handle handles_[kModes];
};

}  // namespace nestor::emu
