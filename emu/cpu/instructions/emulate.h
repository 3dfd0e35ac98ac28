// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emulation of the instructions that the execution engine stops at.
#pragma once

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/decode/instruction.h"

namespace nestor::emu {

// Executes the instruction at RIP, VM exits included. Completed: the caller advances RIP with
// advance_rip() and ends the blocking by STI and MOV SS. Transferred: the state is complete, RIP
// included; a string instruction with iterations left stays at its RIP. An Event of a software type
// (INT n, INT3, INTO, INT1) is to be delivered behind the instruction; any other Event is a fault,
// and the state is as it was, but for the completed iterations of a string instruction. Whatever is
// not emulated is #UD.
Outcome emulate(Core& core, const Instruction& instruction);

}  // namespace nestor::emu
