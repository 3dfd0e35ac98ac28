// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <variant>

#include "emu/cli/options.h"
#include "emu/machine/machine.h"

namespace nestor::emu {

// `nestor run`: reads the files, runs the machine, writes all outputs. Returns the exit status of
// the process. Complaints go to the standard error, one line each.
[[nodiscard]] int run_command(const RunOptions& options, const MachineFactory& create);

}  // namespace nestor::emu
