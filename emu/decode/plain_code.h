// SPDX-License-Identifier: GPL-2.0-or-later
//
// The most of all code: what works on general registers and memory, and jumps. It is told from the
// rest, and counted, in a fraction of the time that decoding takes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/decode/instruction.h"

namespace nestor::emu {

// How many instructions `code` holds, if it starts with one and ends with one, and all are plain:
// valid, with operands that need no alignment, without LOCK or repetition, and touching no segment
// register, descriptor, port or other register than the general ones, RIP and RFLAGS.
// std::nullopt: they are not, or nobody knows; 16-bit code never is.
std::optional<unsigned> count_plain_instructions(std::span<const uint8_t> code, CodeMode mode);

}  // namespace nestor::emu
