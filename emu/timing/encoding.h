// SPDX-License-Identifier: GPL-2.0-or-later
//
// How an instruction is encoded, as far as its price depends on it (Intel SDM volume 2,
// "Instruction Format").
#pragma once

#include <cstdint>
#include <span>

#include "emu/decode/instruction.h"
#include "emu/timing/table_types.h"

namespace nestor::emu::timing {

struct Encoding {
  static constexpr uint8_t kNone = 0xff;

  EncodingKey key;
  bool known = false;         // false: of a map without prices, as all of EVEX
  uint8_t opcode_offset = 0;  // of the opcode's last byte, after all prefixes and escapes
  bool rex = false;           // without it the byte registers 4 to 7 are AH, CH, DH, BH
  bool length_changing_prefix = false;
  bool rip_relative = false;
  bool has_displacement = false;
  uint8_t base = kNone, index = kNone;  // general registers of a memory operand
  uint8_t scale = 1;
  int32_t displacement = 0;
  uint8_t segment = kNone;    // a prefix names it: its number in ModRM, ES to GS
  uint8_t address_bits = 64;  // 16, 32 or 64: the width of addresses
  // What follows the operand in memory, sign-extended: an immediate, where there is one.
  int32_t immediate_byte = 0, immediate_doubleword = 0;
  // The number of the register in each place; meaningless where the form has none there.
  std::array<uint8_t, kPlaces> place{};
};

// `bytes`: one valid instruction, whole.
Encoding parse_encoding(std::span<const uint8_t> bytes, CodeMode mode);

}  // namespace nestor::emu::timing
