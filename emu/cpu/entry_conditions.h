// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a block of code demands of the registers when it is entered, for none of its memory accesses
// to break a segment's limit or type, or the alignment that SSE wants; for none of its instructions
// to meet a floating-point exception that is not masked; and for STI to find RFLAGS.IF = 0. The
// engine checks none of these.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/decode/decoder.h"
#include "emu/engine/entry_condition.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

// `code` stands at `linear` and begins with an instruction; `state` says the mode and the segments.
// Returns the offset before which the block must end, since what an access there depends on is not
// known at the entry; the first instruction's accesses always are, or the conditions never hold.
// `simd_exceptions`: MXCSR leaves some unmasked.
std::optional<unsigned> find_entry_conditions(Decoder& decoder, std::span<const uint8_t> code,
                                              uint64_t linear, const vmx::CpuState& state,
                                              bool simd_exceptions, EntryConditions& conditions);

// CR0 and CR4 let the instruction use x87, MMX or SSE registers, if it does.
bool is_available(const vmx::CpuState& state, const Instruction& instruction);
// The instruction at RIP does not end within the code segment.
bool breaks_code_limit(const vmx::CpuState& state, const Instruction& instruction);

// Why the instruction at RIP cannot be executed, by these rules; std::nullopt: it can. What has
// priority over them (#UD, #NM) is left to the engine.
std::optional<vmx::Event> broken_rule(const vmx::CpuState& state, const Instruction& instruction);

}  // namespace nestor::emu
