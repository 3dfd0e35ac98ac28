// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

namespace nestor::emu::native {

/// `nestor-kvm run`, with its arguments from "run" on. Returns the exit status of the process,
/// which docs/exit-status.md lists.
[[nodiscard]] int run_natively(const std::vector<std::string>& arguments);

}  // namespace nestor::emu::native
