// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/l0/counters.h"
#include "emu/l0/mode.h"

namespace nestor::emu {

// What L0 did, as lines of text that end in a newline.
std::string report_l0(const L0Config& config, const L0Counters& counters);

}  // namespace nestor::emu
