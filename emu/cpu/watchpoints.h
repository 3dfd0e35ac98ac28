// SPDX-License-Identifier: GPL-2.0-or-later
//
// What stops a run and is looked for in each instruction; see Until.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/hardware_core.h"
#include "emu/cpu/pause.h"
#include "emu/decode/instruction.h"

namespace nestor::emu {

// The address of a watchpoint that the instruction at RIP meets.
std::optional<uint64_t> find_watched(HardwareCore& core);

// What the run is to stop for after this instruction, which is at RIP: an MSR or a port.
std::optional<Pause> watched_register_or_port(HardwareCore& core, const Instruction& instruction);

}  // namespace nestor::emu
