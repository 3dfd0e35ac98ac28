// SPDX-License-Identifier: GPL-2.0-or-later
//
// What Capstone does not say, or says wrongly, of the memory that an instruction uses.
#pragma once

#include <cstdint>

#include "emu/decode/instruction.h"

struct cs_insn;

namespace nestor::emu {

// Completes `instruction`, whose operands are there: sizes and directions of memory operands,
// operands that are implied, and the use of the stack. `opcode`: the first byte behind the
// prefixes.
void complete_memory_use(Instruction& instruction, const cs_insn& decoded, uint8_t opcode);

}  // namespace nestor::emu
