// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/segment_loads.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace nestor::emu {

namespace {

// POP ES/SS/DS, MOV Sreg, far CALL, LES, LDS, RETF, INT3, INT n, INTO, IRET, far JMP.
constexpr std::array<uint8_t, 14> kOneByte = {0x07, 0x17, 0x1f, 0x8e, 0x9a, 0xc4, 0xc5,
                                              0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xea};
// After 0F: group 6 (VERR, VERW), LAR, LSL, POP FS, POP GS, LSS, LFS, LGS.
constexpr std::array<uint8_t, 8> kTwoBytes = {0x00, 0x02, 0x03, 0xa1, 0xa9, 0xb2, 0xb4, 0xb5};
constexpr std::array<uint8_t, 11> kPrefixes = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                               0x66, 0x67, 0xf0, 0xf2, 0xf3};

template <size_t N>
bool contains(const std::array<uint8_t, N>& set, uint8_t byte) {
  return std::find(set.begin(), set.end(), byte) != set.end();
}

}  // namespace

bool loads_segment(std::span<const uint8_t> code, bool long_mode) {
  size_t i = 0;
  while (i < code.size() && contains(kPrefixes, code[i])) ++i;
  if (long_mode && i < code.size() && (code[i] & 0xf0) == 0x40) ++i;  // REX
  if (i >= code.size()) return false;
  if (code[i] == 0x0f) return i + 1 < code.size() && contains(kTwoBytes, code[i + 1]);
  if (code[i] == 0xff && i + 1 < code.size()) {
    const unsigned group5 = code[i + 1] >> 3 & 7;
    return group5 == 3 || group5 == 5;  // far CALL and JMP through memory
  }
  return contains(kOneByte, code[i]);
}

}  // namespace nestor::emu
