// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code that the engine must not begin by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/decode/decoder.h"

namespace nestor::emu {

// The offset of the first instruction in `code`, which starts with one, that the engine would get
// wrong: INS, to whose destination it writes zeros before anything stops it; in 64-bit mode IRET
// with operands of 32 or 16 bits; and with `far_transfers` far CALL and far JMP, which may switch
// tasks.
std::optional<unsigned> find_unsafe(Decoder& decoder, std::span<const uint8_t> code, CodeMode mode,
                                    bool far_transfers);

}  // namespace nestor::emu
