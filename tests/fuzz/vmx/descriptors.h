// SPDX-License-Identifier: GPL-2.0-or-later
//
// The GDT, LDT, TSS and IDT of cases about protection.
#pragma once

#include <cstdint>

#include "tests/fuzz/vmx/draft.h"

namespace nestor::fuzz {

inline constexpr uint16_t kUserCode32 = 0x4b, kUserCode16 = 0x53, kUserData16 = 0x5b,
                          kData16 = 0x60, kCode16Arena = 0x68;
// These of 16 bits begin at kArena. Random ones follow.
inline constexpr uint16_t kFirstRandom = 0x70;
inline constexpr unsigned kRandomCount = 30, kLdtCount = 8;
inline constexpr uint64_t kLdt = kGdt + 0x400;
inline constexpr uint16_t kLdtSelector = kFirstRandom + 8 * kRandomCount;

// Descriptors without accessed flag, not present, of other levels, types and limits; gates; odd
// stacks of inner levels.
void change_descriptors(Draft& draft);

struct Choice {
  uint16_t selector = 0;
  uint64_t base = 0;  // of the segment, if it is one
};
// Of any kind, null and beyond the limits included.
uint16_t choose_selector(Draft& draft);
uint16_t choose_data_selector(Draft& draft);
Choice choose_code_or_gate(Draft& draft);

}  // namespace nestor::fuzz
