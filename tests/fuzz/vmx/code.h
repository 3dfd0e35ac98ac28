// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code of L2 in the making: instructions with operands for a code segment of 16, 32 or 64 bits.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "tests/fuzz/vmx/draft.h"

namespace nestor::fuzz {

class Code {
 public:
  // As what CS, CR0 and RFLAGS of the draft make of kCode; code there is what is written.
  explicit Code(const Draft& draft);

  unsigned bits() const { return bits_; }  // 16, 32, 64
  // Of the code segment; offsets count from it.
  uint64_t base() const { return base_; }
  // Linear address of what is written next.
  uint64_t here() const { return kCode + bytes_.size(); }
  // Linear addresses of the instructions.
  const std::vector<uint64_t>& starts() const { return starts_; }
  const std::map<uint64_t, AccessKind>& accesses() const { return accesses_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

  // One instruction, with an immediate of `size` bytes.
  void add(std::initializer_list<unsigned> code, uint64_t immediate = 0, unsigned size = 0,
           std::optional<AccessKind> kind = std::nullopt);
  void add(std::span<const uint8_t> code, std::optional<AccessKind> kind = std::nullopt);
  void move_to_ax(uint16_t value);
  // The operand size of the code segment; 8 bytes in 64-bit mode.
  void push(uint64_t value);
  // ModR/M and an 8-bit displacement: the operand at [RBX], [RSI], [RDI] or [RBP].
  enum Base : uint8_t { kRbx, kRsi, kRdi, kRbp };
  unsigned operand(Base base, unsigned reg) const;

 private:
  unsigned bits_;
  uint64_t base_;
  std::vector<uint8_t> bytes_;
  std::vector<uint64_t> starts_;
  std::map<uint64_t, AccessKind> accesses_;
};

// An instruction that neither changes the mode nor reads descriptors.
void add_plain(Draft& draft, Code& code);
// Segment loads, far transfers and what belongs to them.
void add_descriptor_use(Draft& draft, Code& code);

}  // namespace nestor::fuzz
