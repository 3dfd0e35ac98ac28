// SPDX-License-Identifier: GPL-2.0-or-later
//
// Differences between Nestor and Bochs that the manual has decided; docs/differential.md explains
// them.
#pragma once

#include <cstdint>
#include <string_view>

#include "tests/fuzz/vmx/differences.h"

namespace nestor::fuzz {

enum class Right : uint8_t { kNestor, kBochs, kBoth };

struct DecidedKind {
  using Predicate = bool (*)(const Difference&);

  std::string_view name;
  std::string_view section;  // the title of the manual's section
  Right right{};
  // Whether the case goes on in two ways from here, so that nothing more can be compared.
  bool parts = false;
  Predicate is = nullptr;
};

// nullptr: it is not decided. Nestor's output is on the left.
const DecidedKind* find_decided_kind(const Difference& difference);

}  // namespace nestor::fuzz
