// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/observe/trace/difference.h"

namespace nestor::emu {

struct DiffOptions {
  std::string left, right;
  DiffRules rules;
  bool list_ignored = false;
};

// `nestor diff`: compares two traces. What differs goes to the standard output, complaints to the
// standard error, one line each. Returns the exit status of the process.
[[nodiscard]] int diff_command(const DiffOptions& options);

}  // namespace nestor::emu
