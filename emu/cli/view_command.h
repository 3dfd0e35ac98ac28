// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/observe/view/trace_page.h"

namespace nestor::emu {

struct ViewOptions {
  std::string trace;  // a file; "-": the standard input
  std::string out;    // a file; "-": the standard output
  TracePage::Limits limits{};
};

// `nestor view`: writes a page for a browser from a JSON trace. Complaints go to the standard
// error, one line each. Returns the exit status of the process.
[[nodiscard]] int view_command(const ViewOptions& options);

}  // namespace nestor::emu
