// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>

#include "emu/cli/exit_status.h"

namespace nestor::emu {

// The program's name, which all complaints start with: "nestor" unless this is called. The view
// stays valid.
void complain_as(std::string_view program);

// Tells the user on the standard error, on one line whatever characters a file name brings into
// it. Returns the status.
int complain(ExitStatus status, std::string message);

}  // namespace nestor::emu
