// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code that the model executes itself, since the engine would get it wrong: whatever touches a
// descriptor table, a TSS or the stack of another privilege level. The engine tells neither that
// such an access is implicit nor with which rights it is made, sets no accessed flags, and leaves
// checks out. And what saves and loads the state of the x87 FPU and MXCSR, of which the engine
// keeps a part only; and near branches that it decodes as other processors do.
#pragma once

#include <optional>
#include <span>

#include "emu/decode/decoder.h"

namespace nestor::emu {

// Whether it is one of them. `descriptors`: selectors name descriptors, as they do in protected
// mode but for virtual-8086 mode.
bool is_modelled(const Instruction& instruction, bool descriptors);

// The offset of the first such instruction in `code`, which starts with one; INS is among them, to
// whose destination the engine writes zeros before anything stops it, and what loads SS, whose
// blocking of events the engine does not tell from that of STI.
//
// Or that of an instruction that must begin a block, because the engine takes the flags that it
// does not change from the block before; then never 0.
//
// Or that of an instruction that the decoder does not know, if one of them may stand behind it:
// the engine may know it, and where it ends. To be executed alone.
std::optional<unsigned> find_modelled(Decoder& decoder, std::span<const uint8_t> code,
                                      CodeMode mode, bool descriptors);

}  // namespace nestor::emu
