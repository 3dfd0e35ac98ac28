// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far CALL, far JMP and IRET, as far as they switch tasks; the engine executes all others.
#pragma once

#include <optional>

#include "emu/cpu/core.h"
#include "emu/cpu/result.h"
#include "emu/cpu/task_switch.h"
#include "emu/decode/instruction.h"

namespace nestor::emu {

// Where far transfers may switch tasks: in protected mode, but neither in virtual-8086 mode nor in
// IA-32e mode, where such an attempt is a general protection exception.
inline bool may_switch_tasks(const vmx::CpuState& state) {
  return state.protected_mode() && !state.virtual_8086() && !state.long_mode_active();
}

// SDM volume 3C, "Treatment of Task Switches": the task switch that the instruction asks for, once
// the checks that come before those of the new TSS have passed. std::nullopt: it asks for none, or
// fails as a transfer within the task does. may_switch_tasks() is assumed.
Result<std::optional<TaskSwitch>> find_task_switch(Core& core, const Instruction& instruction);

}  // namespace nestor::emu
