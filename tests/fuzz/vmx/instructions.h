// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

namespace nestor::fuzz {

// Machine code of single instructions, or of a few that belong together. Operands in memory are at
// RBX (data), RDI and RBP (other pages); RCX, RDX and RAX are what the case makes them. `all`: also
// those that processors with different CPUID take differently.
std::span<const std::span<const uint8_t>> instructions(bool all);

}  // namespace nestor::fuzz
