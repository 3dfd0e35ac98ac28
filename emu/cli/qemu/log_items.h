// SPDX-License-Identifier: GPL-2.0-or-later
//
// -d: what QEMU logs, and which events of Nestor's trace say the same.
#pragma once

#include <string>
#include <vector>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// "int,cpu_reset" of -d: the kinds of events go to Wanted::event_kinds.
[[nodiscard]] Complaint read_log_items(const std::string& text, Wanted& wanted);

}  // namespace nestor::emu::qemu
