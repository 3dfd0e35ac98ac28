// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "emu/decode/instruction.h"

struct cs_insn;

namespace nestor::emu {

// What the instruction, whose operation is known, does to its register operand and to RIP.
void set_effects(Instruction& instruction, const cs_insn& decoded);

}  // namespace nestor::emu
