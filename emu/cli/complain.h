// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/cli/exit_status.h"

namespace nestor::emu {

// Tells the user on the standard error, on one line whatever characters a file name brings into
// it. Returns the status.
int complain(ExitStatus status, std::string message);

}  // namespace nestor::emu
