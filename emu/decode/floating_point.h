// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an instruction has to do with floating-point exceptions, which Capstone does not say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "emu/decode/instruction.h"

namespace nestor::emu {

// Sets `waits` but for MMX instructions, `x87` and `simd`, of an instruction whose prefixes are
// known. `bytes`: the whole instruction at least; `opcode`: where its opcode begins.
void set_floating_point(Instruction& instruction, std::span<const uint8_t> bytes, size_t opcode);

}  // namespace nestor::emu
