// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a command line of QEMU to one of `nestor run`. docs/qemu.md is the contract.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "emu/cli/options.h"
#include "emu/cli/qemu/row.h"

namespace nestor::emu::qemu {

struct Translation {
  std::vector<std::string> arguments;  // of nestor, with "run" in front; empty: see report.missing
  Report report;
  bool print = false;          // the command is shown, not run
  bool ends_at_reset = false;  // a reset is the end that was asked for
};

// `arguments` are those after the program's name. Help and versions, and complaints of bad usage or
// of a kernel that cannot be read, are to be printed.
[[nodiscard]] std::variant<Translation, PrintAndExit> translate(
    const std::vector<std::string>& arguments);

// The command as a shell takes it, with a newline.
[[nodiscard]] std::string shell_command(const std::vector<std::string>& arguments);

}  // namespace nestor::emu::qemu
