// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

namespace nestor::emu {

// Whether the instruction at the start of `code` may read a descriptor or the TSS: it loads or
// verifies a segment register, or transfers control far. `long_mode`: 64-bit code.
bool loads_segment(std::span<const uint8_t> code, bool long_mode);

}  // namespace nestor::emu
