// SPDX-License-Identifier: GPL-2.0-or-later
//
// From what is wanted to the arguments of `nestor run`.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// What the options make together. A complaint is of bad usage, or missing().
[[nodiscard]] Complaint check_together(Wanted& wanted);

// With "run" in front. Opens the kernel, to see what it is. Warnings are added to the report.
[[nodiscard]] std::variant<std::vector<std::string>, Complaint> nestor_arguments(Wanted& wanted);

}  // namespace nestor::emu::qemu
