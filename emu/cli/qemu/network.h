// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

[[nodiscard]] Complaint read_netdev(const std::string& text, Wanted& wanted);  // -netdev
[[nodiscard]] Complaint read_nic(const std::string& text, Wanted& wanted);     // -nic

}  // namespace nestor::emu::qemu
