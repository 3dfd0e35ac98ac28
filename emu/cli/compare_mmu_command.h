// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>

#include "emu/cli/image_options.h"
#include "emu/machine/machine.h"

namespace nestor::emu {

struct CompareMmuOptions : ImageRun {  // but for the mode of --l0
  std::optional<std::string> json;  // a file, or "-" for the standard output instead of the table
};

// `nestor compare-mmu`: runs an image in every mode of --l0 and prints what each costs. Returns the
// exit status of the process. Complaints go to the standard error, one line each.
[[nodiscard]] int compare_mmu_command(const CompareMmuOptions& options,
                                      const MachineFactory& create);

}  // namespace nestor::emu
