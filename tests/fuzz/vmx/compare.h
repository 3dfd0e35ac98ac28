// SPDX-License-Identifier: GPL-2.0-or-later
//
// Compares what two machines made of the same cases, and says what the manual has decided about it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "tests/fuzz/vmx/case.h"

namespace nestor::fuzz {

struct Comparison {
  // Cases; `undecided`: those of `different` with a difference that no decided kind fits.
  size_t compared = 0, different = 0, undecided = 0;
  std::string report;  // decided and undecided differences by kind, most frequent first, with seeds
};
// `left` is Nestor's. `make` makes a case anew from its seed.
Comparison compare_outputs(std::string_view left, std::string_view right, const Case& base,
                           const std::function<Case(uint64_t seed)>& make);

}  // namespace nestor::fuzz
