// SPDX-License-Identifier: GPL-2.0-or-later
//
// The functions that execute instructions, one an instruction or a family that differs in little:
// those that emu/decode/instructions.inc names.
#pragma once

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/decode/instruction.h"

namespace nestor::emu::instructions {

using Handler = Outcome (*)(Core&, const Instruction&);

#define NESTOR_INSTRUCTION(operation, handler, ...) Outcome handler(Core&, const Instruction&);
#include "emu/decode/instructions.inc"

}  // namespace nestor::emu::instructions
