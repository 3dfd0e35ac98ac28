// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/emulate.h"

#include "emu/cpu/cpuid.h"
#include "emu/cpu/instructions/instruction_table.h"

namespace nestor::emu {

Outcome emulate(Core& core, const Instruction& instruction) {
  // None of these instructions takes a LOCK prefix.
  if (instruction.prefixes.lock)
    return vmx::because("it has a LOCK prefix", vmx::exception(vmx::kUd));
  const instructions::InstructionInfo& info = instructions::info_of(instruction.operation);
  if (info.feature && !offers(core, *info.feature))
    return vmx::because("this processor does not have the instruction", vmx::exception(vmx::kUd));
  return info.handler(core, instruction);
}

}  // namespace nestor::emu
