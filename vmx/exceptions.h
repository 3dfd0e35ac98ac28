// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exceptions by vector ("Protected-Mode Exceptions and Interrupts"), and what a processor does
// with each.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "vmx/cpu_state.h"

namespace nestor::vmx {

// "Interrupt and Exception Classes": what an exception during the delivery of another makes.
enum class ExceptionClass : uint8_t { kBenign, kContributory, kPageFault, kDoubleFault };

struct ExceptionInfo {
  std::string_view mnemonic;  // "#PF"; empty where none is defined
  bool error_code = false;    // pushed in protected mode
  ExceptionClass exception_class = ExceptionClass::kBenign;
};

inline constexpr auto kExceptions = [] {
  using enum ExceptionClass;
  std::array<ExceptionInfo, 32> table{};
  table[kDe] = {"#DE", false, kContributory};
  table[kDb] = {"#DB"};
  table[kNmi] = {"NMI"};
  table[kBp] = {"#BP"};
  table[kOf] = {"#OF"};
  table[kBr] = {"#BR"};
  table[kUd] = {"#UD"};
  table[kNm] = {"#NM"};
  table[kDf] = {"#DF", true, kDoubleFault};
  table[kTs] = {"#TS", true, kContributory};
  table[kNp] = {"#NP", true, kContributory};
  table[kSs12] = {"#SS", true, kContributory};
  table[kGp] = {"#GP", true, kContributory};
  table[kPf] = {"#PF", true, kPageFault};
  table[kMf] = {"#MF"};
  table[kAc] = {"#AC", true};
  table[kMc] = {"#MC"};
  table[kXm] = {"#XM"};
  table[kVe] = {"#VE", false, kPageFault};
  table[kCp] = {"#CP", true, kContributory};
  return table;
}();

// Vectors beyond 31, which are interrupts, are as those that are not defined.
constexpr ExceptionInfo exception_info(uint8_t vector) {
  return vector < kExceptions.size() ? kExceptions[vector] : ExceptionInfo{};
}

}  // namespace nestor::vmx
