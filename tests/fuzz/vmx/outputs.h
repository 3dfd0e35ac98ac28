// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a machine made of cases, as the image vmx-case prints it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vmx/capabilities.h"

namespace nestor::fuzz {

using Values = std::map<uint64_t, uint64_t>;

// 0: it is not there.
uint64_t value_at(const Values& values, uint64_t key);

struct Exit {
  Values information, guest;  // by encoding; of the guest state what changed
  Values registers;           // by number, as in Case::registers
  Values memory;              // sums of the arena's pages that changed, by address
};

struct CaseOutput {
  std::string failure;  // the line of a VMfail; empty: none
  std::vector<Exit> exits;
};

// By seed.
std::map<uint64_t, CaseOutput> parse_output(std::string_view output);

// The capabilities in the line `machine {...}` of an output; an error message is in `error`.
vmx::Capabilities capabilities_of_output(std::string_view output, std::string& error);

}  // namespace nestor::fuzz
