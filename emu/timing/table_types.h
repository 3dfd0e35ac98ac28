// SPDX-License-Identifier: GPL-2.0-or-later
//
// How the generated tables of emu/timing/tables/ are laid out. scripts/price-tables/generate, which
// writes them, includes this file, too.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace nestor::emu::timing {

// The opcode maps: one byte, 0F, 0F 38, 0F 3A, and the three of VEX.
inline constexpr uint8_t kFirstVexSpace = 4, kSpaces = 7;

// What of an encoding decides which instruction it is, in 64-bit mode. As a number it orders
// encodings such that many neighbours are the same instruction.
struct EncodingKey {
  enum Repeat : uint8_t { kNoRepeat, kRepne, kRep };

  uint8_t space = 0;
  uint8_t opcode = 0;
  uint8_t repeat = kNoRepeat;  // F2 or F3; with VEX, as VEX.pp has it
  bool operand_size = false;   // 66; with VEX, as VEX.pp has it
  bool wide = false;           // REX.W or VEX.W
  bool vector_256 = false;     // VEX.L
  bool lock = false;
  bool memory = false;  // ModRM.mod is not 11B
  uint8_t reg = 0;      // ModRM.reg
  uint8_t rm = 0;       // ModRM.rm where ModRM.mod is 11B; else 0

  static constexpr uint32_t kEnd = uint32_t{kSpaces} << 20;

  constexpr uint32_t number() const {
    return uint32_t{space} << 20 | uint32_t{opcode} << 12 | uint32_t{repeat} << 10 |
           uint32_t{operand_size} << 9 | uint32_t{wide} << 8 | uint32_t{vector_256 || lock} << 7 |
           uint32_t{memory} << 6 | uint32_t{reg} << 3 | uint32_t{rm};
  }
  static constexpr EncodingKey from(uint32_t number) {
    EncodingKey key;
    key.space = static_cast<uint8_t>(number >> 20);
    key.opcode = static_cast<uint8_t>(number >> 12);
    key.repeat = number >> 10 & 3;
    key.operand_size = (number >> 9 & 1) != 0;
    key.wide = (number >> 8 & 1) != 0;
    const bool either = (number >> 7 & 1) != 0;
    key.vector_256 = either && key.space >= kFirstVexSpace;
    key.lock = either && key.space < kFirstVexSpace;
    key.memory = (number >> 6 & 1) != 0;
    key.reg = number >> 3 & 7;
    key.rm = number & 7;
    return key;
  }
  // Whether an instruction may have it at all.
  constexpr bool meaningful() const {
    if (repeat > kRep || (memory && rm != 0) || (lock && !memory)) return false;
    return space < kFirstVexSpace || repeat == kNoRepeat || !operand_size;
  }
};

// Where an instruction encodes a register.
enum Place : uint8_t { kRegPlace, kRmPlace, kVvvvPlace, kIs4Place, kOpcodePlace, kPlaces };

enum class RegisterClass : uint8_t {
  kNone,
  kByte,  // bytes, words ... of general registers
  kWord,
  kDoubleword,
  kQuadword,
  kVector,  // XMM and YMM
  kMmx,
  kX87,
  kOther,     // segment, control and mask registers: nothing waits for them
  kHighByte,  // not in a table: AH, CH, DH, BH
};

// What an instruction reads or writes without naming it; bits 0 to 15 are the general registers.
enum : uint32_t {
  kImplicitCarry = 1u << 16,
  kImplicitOtherFlags = 1u << 17,
  kImplicitFlags = kImplicitCarry | kImplicitOtherFlags,
  kImplicitX87 = 1u << 18,
  kImplicitXmm0 = 1u << 19,
};

enum FormFlag : uint8_t {
  kHasMemory = 1,     // a memory operand, though it may be only its address that is used
  kHasCondition = 2,  // in the low four bits of the opcode
  kHasImmediate = 4,
  kLoads = 8,
  kStores = 16,
  kBranches = 32,
  kHasModrm = 128,
  kUsesStack = 64,  // PUSH, POP, CALL, RET: the stack engine keeps RSP
};

// An instruction, as far as it is known by its encoding.
struct Form {
  uint32_t implicit_read = 0, implicit_written = 0;
  uint32_t classes = 0;  // a RegisterClass for each Place, four bits each, the first one lowest
  uint8_t read = 0, written = 0;  // a bit for each Place
  uint8_t flags = 0;

  constexpr RegisterClass place(unsigned place) const {
    return static_cast<RegisterClass>(classes >> 4 * place & 0xf);
  }
  constexpr auto operator<=>(const Form&) const = default;
};

// What is taken like a port: the dividers, and what locked and serializing instructions take, which
// do not overlap with their like.
inline constexpr uint16_t kSerial = 1u << 13, kIntegerDivider = 1u << 14,
                          kFloatingPointDivider = 1u << 15;

struct PortUse {
  uint16_t ports = 0;   // any of them will do; a bit each, and the dividers are ports, too
  uint16_t cycles = 0;  // for which one is taken: micro-operations, but for the dividers
};

// What a form costs on one processor.
struct TablePrice {
  static constexpr unsigned kMaxUses = 8;
  // Cycles until the result is there, from address registers; and from other operands.
  uint16_t latency = 0, operand_latency = 0;
  uint8_t uops = 0;  // as LLVM counts them
  std::array<PortUse, kMaxUses> use{};
};

}  // namespace nestor::emu::timing
