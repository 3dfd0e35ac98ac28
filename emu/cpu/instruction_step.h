// SPDX-License-Identifier: GPL-2.0-or-later
//
// One instruction on the model: fetched, decoded, executed. The machine's own processor and the one
// that L0 gives to L1 have this in common.
#pragma once

#include <optional>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/decode/decoder.h"
#include "emu/decode/instruction.h"

namespace nestor::emu {

// RIP as a linear address.
uint64_t linear_rip(const vmx::CpuState& state);

struct FetchedInstruction {
  std::optional<Instruction> instruction{};
  std::optional<Fault> fault{};  // why it could not be read as a whole, if so
};
// The instruction at RIP.
FetchedInstruction fetch_instruction(Core& core, Decoder& decoder);

struct Executed {
  Outcome outcome;
  // The instruction is over, and the state that at the next instruction boundary.
  bool at_boundary = false;
  bool single_step = false;  // a single-step trap is due there
};
// Executes the instruction at RIP and moves on to the next one.
Executed execute(Core& core, const Instruction& instruction);

// What is left to deliver of an instruction that ended so. Takes the VM exit that EPT asks for.
std::optional<vmx::Event> settle(Core& core, Decoder& decoder, const Outcome& outcome);

// Takes the VM exit that an access of the instruction at RIP comes to; or returns the
// virtualization exception in its place.
std::optional<vmx::Event> take_ept_exit(Core& core, Decoder& decoder, const EptExit& exit);

}  // namespace nestor::emu
