// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// "NAME,KEY=VALUE,..." of -device.
[[nodiscard]] Complaint read_device(const std::string& text, Wanted& wanted);
// "DRIVER.KEY=VALUE" of -global.
[[nodiscard]] Complaint read_global(const std::string& text, Wanted& wanted);

}  // namespace nestor::emu::qemu
