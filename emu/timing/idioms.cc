// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/idioms.h"

namespace nestor::emu::timing {
namespace {

bool same_registers(const Encoding& encoding) {
  const bool vex = encoding.key.space >= kFirstVexSpace;
  const Place first = vex ? kVvvvPlace : kRegPlace;
  return encoding.place[first] == encoding.place[kRmPlace];
}

// The map, whether it is encoded with VEX or not: 0F, 0F 38 or 0F 3A.
unsigned vector_map(const EncodingKey& key) {
  return key.space >= kFirstVexSpace ? key.space - kFirstVexSpace + 1u : key.space;
}

Idiom general_idiom(const Encoding& encoding) {
  const EncodingKey& key = encoding.key;
  if (key.operand_size || key.repeat != EncodingKey::kNoRepeat) return Idiom::kNone;
  const bool same = same_registers(encoding);
  switch (key.opcode) {
    case 0x29:  // SUB
    case 0x2b:
    case 0x31:  // XOR
    case 0x33:
      return same ? Idiom::kZero : Idiom::kNone;
    case 0x89:  // MOV
    case 0x8b:
      return same ? Idiom::kNone : Idiom::kMove;
    default:
      return Idiom::kNone;
  }
}

Idiom move_idiom(const Encoding& encoding) {
  const EncodingKey& key = encoding.key;
  const bool vex = key.space >= kFirstVexSpace;
  const bool same = encoding.place[kRegPlace] == encoding.place[kRmPlace];
  switch (key.opcode) {
    case 0x10:  // MOVUPS, MOVUPD; with F2 and F3 they are scalar
    case 0x11:
    case 0x28:  // MOVAPS, MOVAPD
    case 0x29:
      return key.repeat == EncodingKey::kNoRepeat && !same ? Idiom::kVectorMove : Idiom::kNone;
    case 0x6f:  // MOVDQA, MOVDQU; without a prefix it is MOVQ of MMX registers
    case 0x7f:
      return (key.operand_size || key.repeat == EncodingKey::kRep) && !same ? Idiom::kVectorMove
                                                                            : Idiom::kNone;
    case 0xb6:  // MOVZX of a byte to 32 or 64 bits
      if (vex || key.operand_size || same) return Idiom::kNone;
      return encoding.rex || encoding.place[kRmPlace] < 4 ? Idiom::kMove : Idiom::kNone;
    default:
      return Idiom::kNone;
  }
}

Idiom vector_idiom(const Encoding& encoding) {
  const EncodingKey& key = encoding.key;
  if (key.repeat != EncodingKey::kNoRepeat || !same_registers(encoding)) return Idiom::kNone;
  if (vector_map(key) == 2) {
    if (!key.operand_size) return Idiom::kNone;
    if (key.opcode == 0x37) return Idiom::kZero;                          // PCMPGTQ
    return key.opcode == 0x29 ? Idiom::kBreaksDependency : Idiom::kNone;  // PCMPEQQ
  }
  if (vector_map(key) != 1) return Idiom::kNone;
  switch (key.opcode) {
    case 0x57:  // XORPS, XORPD
      return Idiom::kZero;
    case 0x64:  // PCMPGTB, PCMPGTW, PCMPGTD
    case 0x65:
    case 0x66:
    case 0xef:  // PXOR
    case 0xf8:  // PSUBB, PSUBW, PSUBD, PSUBQ
    case 0xf9:
    case 0xfa:
    case 0xfb:
      // Those of MMX registers are executed.
      return key.operand_size ? Idiom::kZero : Idiom::kBreaksDependency;
    case 0x74:  // PCMPEQB, PCMPEQW, PCMPEQD
    case 0x75:
    case 0x76:
      return Idiom::kBreaksDependency;
    default:
      return Idiom::kNone;
  }
}

enum class Fusible : uint8_t { kNo, kTest, kCompare, kIncrement };

// What may be fused with a jump after it.
Fusible fusible(const Encoding& encoding) {
  const EncodingKey& key = encoding.key;
  if (!encoding.known || key.space != 0 || key.lock) return Fusible::kNo;
  const uint8_t opcode = key.opcode, reg = key.reg;
  const bool immediate_group = opcode >= 0x80 && opcode <= 0x83;
  const bool test = opcode == 0x84 || opcode == 0x85 || opcode == 0xa8 || opcode == 0xa9 ||
                    ((opcode == 0xf6 || opcode == 0xf7) && reg < 2);
  const bool arithmetic = opcode < 0x40 && (opcode & 7) < 6;
  const unsigned operation = immediate_group ? reg : opcode >> 3;
  // Neither an immediate with a memory operand nor a result in memory.
  const bool short_form = arithmetic && (opcode & 7) >= 4;  // AL, eAX and an immediate
  const bool memory = key.memory && !short_form && opcode != 0xa8 && opcode != 0xa9;
  if (memory && (immediate_group || opcode == 0xf6 || opcode == 0xf7)) return Fusible::kNo;
  if (test) return Fusible::kTest;
  if (arithmetic || immediate_group) {
    constexpr unsigned kAdd = 0, kAnd = 4, kSub = 5, kCmp = 7;
    const bool to_memory = memory && (opcode & 7) < 2;
    if (operation == kCmp) return Fusible::kCompare;
    if (to_memory) return Fusible::kNo;
    if (operation == kAnd) return Fusible::kTest;
    if (operation == kAdd || operation == kSub) return Fusible::kCompare;
    return Fusible::kNo;
  }
  if ((opcode == 0xfe || opcode == 0xff) && reg < 2 && !memory) return Fusible::kIncrement;
  return Fusible::kNo;
}

}  // namespace

Idiom idiom_of(const Encoding& encoding) {
  const EncodingKey& key = encoding.key;
  if (!encoding.known || key.memory) return Idiom::kNone;
  if (key.space == 0) return general_idiom(encoding);
  if (vector_map(key) == 1) {
    const Idiom move = move_idiom(encoding);
    if (move != Idiom::kNone) return move;
  }
  return vector_idiom(encoding);
}

bool waits_for_destination(const Encoding& encoding, const Processor& processor) {
  const EncodingKey& key = encoding.key;
  if (key.space != 1 || key.repeat != EncodingKey::kRep) return false;
  if (key.opcode == 0xb8) return processor.popcnt_waits;
  return (key.opcode == 0xbc || key.opcode == 0xbd) && processor.tzcnt_waits;
}

bool may_macro_fuse(const Encoding& first) { return fusible(first) != Fusible::kNo; }

bool is_macro_fused(const Encoding& first, const Encoding& second) {
  const EncodingKey& jump = second.key;
  const bool conditional = second.known && ((jump.space == 0 && (jump.opcode & 0xf0) == 0x70) ||
                                            (jump.space == 1 && (jump.opcode & 0xf0) == 0x80));
  if (!conditional) return false;
  const unsigned condition = jump.opcode >> 1 & 7;
  constexpr unsigned kBelow = 1, kEqual = 2, kBelowOrEqual = 3;
  const bool carry = condition == kBelow || condition == kBelowOrEqual;
  const bool signed_order = condition == 6 || condition == 7;  // L, LE and their opposites
  switch (fusible(first)) {
    case Fusible::kTest:
      return true;
    case Fusible::kCompare:
      return carry || signed_order || condition == kEqual;
    case Fusible::kIncrement:
      return signed_order || condition == kEqual;
    default:
      return false;
  }
}

}  // namespace nestor::emu::timing
