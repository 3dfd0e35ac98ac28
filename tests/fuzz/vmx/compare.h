// SPDX-License-Identifier: GPL-2.0-or-later
//
// Compares what two machines made of the same cases, as the image vmx-case printed it.
#pragma once

#include <string>
#include <string_view>

#include "vmx/capabilities.h"

namespace nestor::fuzz {

// The capabilities in the line `machine {...}` of an output; an error message is in `error`.
vmx::Capabilities capabilities_of_output(std::string_view output, std::string& error);

struct Comparison {
  size_t compared = 0, different = 0;
  std::string report;  // differences by kind, most frequent first, with seeds
};
Comparison compare_outputs(std::string_view left, std::string_view right);

}  // namespace nestor::fuzz
