// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// "MODEL,+FEATURE,-FEATURE,PROPERTY=VALUE" of -cpu.
[[nodiscard]] Complaint read_cpu(const std::string& text, Wanted& wanted);

}  // namespace nestor::emu::qemu
