// SPDX-License-Identifier: GPL-2.0-or-later
//
// x87 and SSE registers, which live in the engine and are looked at by XSAVE and its relatives.
#pragma once

#include <array>
#include <cstdint>

namespace nestor::emu {

// IE, DE, ZE, OE, UE and PE of FSW and MXCSR; the lowest bits of FCW mask them.
inline constexpr uint16_t kFloatingPointExceptions = 0x3f;
// MXCSR_MASK: the bits of MXCSR that are not reserved.
inline constexpr uint32_t kMxcsrMask = 0xffff;

struct ExtendedState {
  uint16_t fcw = 0x37f, fsw = 0;  // FSW with TOP
  uint8_t ftw = 0;                // one bit a physical register: 1: not empty
  static constexpr uint16_t kFopMask = 0x7ff;
  uint16_t fop = 0, fcs = 0, fds = 0;
  uint64_t fip = 0, fdp = 0;
  // FOP, and this in place of FDP, are those of the last instruction that caused an unmasked
  // exception; the others are those of the last instruction that is not a control instruction.
  uint64_t exception_fdp = 0;
  std::array<std::array<uint8_t, 10>, 8> st{};  // ST0 to ST7
  uint32_t mxcsr = 0x1f80;
  std::array<std::array<uint64_t, 2>, 16> xmm{};

  bool operator==(const ExtendedState&) const = default;
  template <class Archive>
  void fields(Archive& archive) {
    archive(fcw, fsw, ftw, fop, fcs, fds, fip, fdp, exception_fdp, st, mxcsr, xmm);
  }
};

}  // namespace nestor::emu
