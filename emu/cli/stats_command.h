// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

namespace nestor::emu {

struct StatsOptions {
  std::string trace;  // a file; "-": the standard input
};

// `nestor stats`: prints on the standard output what `run --stats` prints, as far as a trace holds
// it. Complaints go to the standard error, one line each. Returns the exit status of the process.
[[nodiscard]] int stats_command(const StatsOptions& options);

}  // namespace nestor::emu
