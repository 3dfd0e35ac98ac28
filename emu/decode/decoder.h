// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

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

  // The same in Intel syntax, with the targets of an instruction at `address`; empty: it is
  // invalid.
  std::string text_at(std::span<const uint8_t> bytes, CodeMode mode, uint64_t address);

  // The offsets into `bytes` at which instructions start, from offset 0; returns how many of
  // `offsets` were written. The last one may start what is invalid, or longer than `bytes`: what
  // follows it is not known. Ends when `offsets` is full, too.
  unsigned instruction_starts(std::span<const uint8_t> bytes, CodeMode mode,
                              std::span<uint16_t> offsets);

 private:
  static constexpr unsigned kModes = 3;
  struct Handle {
    size_t full = 0, boundaries = 0;  // csh with and without detail
    cs_insn* instruction = nullptr;
    cs_insn* boundary = nullptr;
  };

  // All that decoding depends on: 15 bytes, then the mode and how many bytes there are.
  struct Key {
    uint64_t low = 0, high = 0;

    bool operator==(const Key&) const = default;
  };
  struct CacheEntry {
    Key key{};  // never all zeros once in use, as there are no instructions of no bytes
    std::optional<Instruction> instruction;
  };

  bool run(unsigned mode, std::span<const uint8_t> bytes, uint64_t address = 0);
  std::optional<Instruction> decode_anew(std::span<const uint8_t> bytes, CodeMode mode);

  Handle handles_[kModes];
  // The instructions that trap are few and recur; Capstone takes most of a microsecond for one.
  std::vector<CacheEntry> cache_;
};

}  // namespace nestor::emu
