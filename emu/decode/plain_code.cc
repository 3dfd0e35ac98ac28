// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/decode/plain_code.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>

namespace nestor::emu {
namespace {

// What follows an opcode. The low bits are the bytes of an immediate operand.
enum Layout : uint8_t {
  kImmediate8 = 1,
  kImmediate16 = 2,
  kImmediateFull = 4,  // as wide as the operand, at most 4 bytes
  kImmediateBytes = 7,
  kModrm = 8,
  kMemoryOnly = 16,  // the ModR/M byte names memory
  kWidest = 32,      // with REX.W the immediate has 8 bytes
  kNear = 64,        // a displacement of 4 bytes; 66 would make another instruction of it
  kPlain = 128,
};
using Layouts = std::array<uint8_t, 256>;

constexpr void set(Layouts& layouts, unsigned first, unsigned last, unsigned layout) {
  for (unsigned opcode = first; opcode <= last; ++opcode) {
    layouts[opcode] = static_cast<uint8_t>(layout | kPlain);
  }
}

// As in 64-bit mode; others differ by 40H to 4FH and 63H. "Opcode Map".
constexpr Layouts kOneByte = [] {
  Layouts layouts{};
  for (unsigned operation = 0; operation < 8; ++operation) {  // ADD to CMP
    const unsigned first = operation * 8;
    set(layouts, first, first + 3, kModrm);
    set(layouts, first + 4, first + 4, kImmediate8);
    set(layouts, first + 5, first + 5, kImmediateFull);
  }
  set(layouts, 0x50, 0x5f, 0);                        // PUSH, POP
  set(layouts, 0x63, 0x63, kModrm);                   // MOVSXD
  set(layouts, 0x68, 0x68, kImmediateFull);           // PUSH
  set(layouts, 0x69, 0x69, kModrm | kImmediateFull);  // IMUL
  set(layouts, 0x6a, 0x6a, kImmediate8);
  set(layouts, 0x6b, 0x6b, kModrm | kImmediate8);
  set(layouts, 0x70, 0x7f, kImmediate8 | kNear);  // Jcc
  set(layouts, 0x80, 0x80, kModrm | kImmediate8);
  set(layouts, 0x81, 0x81, kModrm | kImmediateFull);
  set(layouts, 0x83, 0x83, kModrm | kImmediate8);
  set(layouts, 0x84, 0x8b, kModrm);                // TEST, XCHG, MOV
  set(layouts, 0x8d, 0x8d, kModrm | kMemoryOnly);  // LEA
  set(layouts, 0x90, 0x99, 0);                     // XCHG, CBW, CWD and their kin
  set(layouts, 0xa8, 0xa8, kImmediate8);
  set(layouts, 0xa9, 0xa9, kImmediateFull);
  set(layouts, 0xb0, 0xb7, kImmediate8);
  set(layouts, 0xb8, 0xbf, kImmediateFull | kWidest);
  set(layouts, 0xc0, 0xc1, kModrm | kImmediate8);
  set(layouts, 0xc2, 0xc2, kImmediate16 | kNear);  // RET
  set(layouts, 0xc3, 0xc3, kNear);
  set(layouts, 0xc6, 0xc6, kModrm | kImmediate8);
  set(layouts, 0xc7, 0xc7, kModrm | kImmediateFull);
  set(layouts, 0xc9, 0xc9, 0);  // LEAVE
  set(layouts, 0xd0, 0xd3, kModrm);
  set(layouts, 0xe8, 0xe9, kImmediateFull | kNear);
  set(layouts, 0xeb, 0xeb, kImmediate8 | kNear);
  set(layouts, 0xf6, 0xf7, kModrm);  // TEST has an immediate operand besides
  set(layouts, 0xf8, 0xf9, 0);
  set(layouts, 0xfc, 0xfd, 0);
  set(layouts, 0xfe, 0xff, kModrm);
  return layouts;
}();

// Behind 0FH.
constexpr Layouts kTwoBytes = [] {
  Layouts layouts{};
  set(layouts, 0x1f, 0x1f, kModrm);                           // NOP
  set(layouts, 0x40, 0x4f, kModrm);                           // CMOVcc
  set(layouts, 0x80, 0x8f, kImmediateFull | kNear);           // Jcc
  set(layouts, 0x90, 0x9f, kModrm);                           // SETcc
  for (const unsigned opcode : {0xa3u, 0xabu, 0xb3u, 0xbbu})  // BT and its kin
    set(layouts, opcode, opcode, kModrm);
  for (const unsigned opcode : {0xa4u, 0xacu}) {  // SHLD, SHRD
    set(layouts, opcode, opcode, kModrm | kImmediate8);
    set(layouts, opcode + 1, opcode + 1, kModrm);
  }
  set(layouts, 0xaf, 0xb1, kModrm);                // IMUL, CMPXCHG
  set(layouts, 0xb6, 0xb7, kModrm);                // MOVZX
  set(layouts, 0xba, 0xba, kModrm | kImmediate8);  // BT and its kin
  set(layouts, 0xbc, 0xbf, kModrm);                // BSF, BSR, MOVSX
  set(layouts, 0xc0, 0xc1, kModrm);                // XADD
  set(layouts, 0xc8, 0xcf, 0);                     // BSWAP
  return layouts;
}();

// Bits by the reg field of ModR/M: the instructions of a group that are plain.
struct Group {
  bool two_bytes;
  uint8_t opcode, members;
};
constexpr Group kGroups[] = {
    {false, 0xc0, 0b10111111}, {false, 0xc1, 0b10111111}, {false, 0xc6, 0b00000001},
    {false, 0xc7, 0b00000001}, {false, 0xd0, 0b10111111}, {false, 0xd1, 0b10111111},
    {false, 0xd2, 0b10111111}, {false, 0xd3, 0b10111111}, {false, 0xf6, 0b11111101},
    {false, 0xf7, 0b11111101}, {false, 0xfe, 0b00000011}, {false, 0xff, 0b01010111},
    {true, 0x1f, 0b00000001},  {true, 0xba, 0b11110000},
};

constexpr auto kMembers = [] {
  std::array<std::array<uint8_t, 256>, 2> members{};
  for (auto& map : members) map.fill(0xff);
  for (const Group& group : kGroups) members[group.two_bytes][group.opcode] = group.members;
  return members;
}();

struct Cursor {
  const uint8_t* at;
  const uint8_t* end;
  // 0 behind the end, which skip() then finds.
  uint8_t peek() const { return at != end ? *at : uint8_t{0}; }
  bool skip(size_t bytes) {
    if (static_cast<size_t>(end - at) < bytes) return false;
    at += bytes;
    return true;
  }
};

// ModR/M, SIB and displacement, with addresses of 32 or 64 bits.
bool skip_modrm(Cursor& code) {
  const uint8_t modrm = code.peek();
  const unsigned mod = modrm >> 6, rm = modrm & 7;
  if (!code.skip(1)) return false;
  if (mod == 3) return true;
  unsigned displacement = mod == 1 ? 1 : mod == 2 || rm == 5 ? 4 : 0;
  if (rm == 4) {
    if (mod == 0 && (code.peek() & 7) == 5) displacement = 4;
    if (!code.skip(1)) return false;
  }
  return code.skip(displacement);
}

constexpr bool is_segment_prefix(uint8_t byte) {
  return (byte & 0xe7) == 0x26 || (byte & 0xfe) == 0x64;
}

// Compilers put it where indirect branches may lead.
bool skip_endbr64(Cursor& code) {
  constexpr std::array<uint8_t, 4> kEndbr64 = {0xf3, 0x0f, 0x1e, 0xfa};
  const auto left = static_cast<size_t>(code.end - code.at);
  return left >= kEndbr64.size() && std::ranges::equal(kEndbr64, std::span(code.at, 4)) &&
         code.skip(kEndbr64.size());
}

bool skip_plain(Cursor& code, CodeMode mode) {
  if (code.peek() == 0xf3) return mode == CodeMode::k64 && skip_endbr64(code);
  bool narrow = false, wide = false;
  const uint8_t* const first = code.at;
  for (; code.peek() == 0x66 || is_segment_prefix(code.peek()); ++code.at) {
    narrow |= code.peek() == 0x66;
  }
  if (mode == CodeMode::k64 && (code.peek() & 0xf0) == 0x40) {
    wide = (code.peek() & 8) != 0;
    ++code.at;
  }
  uint8_t opcode = code.peek();
  if (!code.skip(1)) return false;
  const bool two_bytes = opcode == 0x0f;
  if (two_bytes) {
    opcode = code.peek();
    if (!code.skip(1)) return false;
  }
  unsigned layout = (two_bytes ? kTwoBytes : kOneByte)[opcode];
  if (mode != CodeMode::k64 && !two_bytes) {
    if ((opcode & 0xf0) == 0x40) layout = kPlain;  // INC, DEC
    if (opcode == 0x63) layout = 0;                // ARPL
  }
  if ((layout & kPlain) == 0 || ((layout & kNear) != 0 && narrow)) return false;
  unsigned immediate = layout & kImmediateBytes;
  if (immediate == kImmediateFull && narrow && !wide) immediate = 2;
  if ((layout & kWidest) != 0 && wide) immediate = 8;
  if ((layout & kModrm) != 0) {
    const uint8_t modrm = code.peek();
    const unsigned reg = modrm >> 3 & 7;
    if ((kMembers[two_bytes][opcode] >> reg & 1) == 0) return false;
    if ((layout & kMemoryOnly) != 0 && modrm >> 6 == 3) return false;
    if (!two_bytes && (opcode & 0xfe) == 0xf6 && reg == 0) {  // TEST
      immediate = opcode == 0xf6 ? 1 : narrow && !wide ? 2 : 4;
    }
    if (!skip_modrm(code)) return false;
  }
  return code.skip(immediate) && code.at - first <= Instruction::kMaxLength;
}

}  // namespace

std::optional<unsigned> count_plain_instructions(std::span<const uint8_t> code, CodeMode mode) {
  if (mode == CodeMode::k16 || code.empty()) return std::nullopt;
  Cursor cursor{code.data(), code.data() + code.size()};
  unsigned count = 0;
  for (; cursor.at != cursor.end; ++count) {
    if (!skip_plain(cursor, mode)) return std::nullopt;
  }
  return count;
}

}  // namespace nestor::emu
