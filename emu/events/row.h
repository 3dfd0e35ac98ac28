// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a row of the table of events is made of.
#pragma once

#include <cstdint>
#include <string_view>

#include "emu/events/kinds.h"

namespace nestor::emu::rows {

inline Value number(uint64_t value) { return value; }
inline Value flag(bool value) { return value; }
inline Value hex(uint64_t value) { return Hex{value}; }
inline Value word(std::string_view value) { return value; }
inline Value absent() { return {}; }
inline Value level(bool non_root) { return word(non_root ? "L2" : "L1"); }

inline Value text(std::string_view text) { return text.empty() ? absent() : word(text); }

inline constexpr std::string_view kWhereVmcs = "where L1 put its VMCS";
inline constexpr std::string_view kWhereEpt = "where L1 put its EPT; memory type and flags count";
inline constexpr uint64_t kEptpFlags = 0xfff;

template <class E>
struct Field {
  std::string_view name, meaning;
  Value (*value)(const E&);
  uint64_t compared = ~0ull;
  std::string_view why = {};
};

// One for each kind of event.
template <class E>
struct Row;

}  // namespace nestor::emu::rows
