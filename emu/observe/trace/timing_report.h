// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <string>

#include "emu/observe/trace/statistics.h"
#include "emu/timing/core.h"

namespace nestor::emu {

// Where the cycles of a run went that the models of the cores have priced, by level: a table in the
// manner of `perf stat`. Ends in a newline.
std::string report_timing(const std::array<Statistics::Amount, 2>& levels,
                          const timing::Core::LevelsCounts& counts);

}  // namespace nestor::emu
