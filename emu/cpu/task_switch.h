// SPDX-License-Identifier: GPL-2.0-or-later
//
// Task switches: SDM volume 3A, "Task Switching". In VMX non-root operation they cause VM exits.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"

namespace nestor::emu {

// "Exit Qualification for Task Switches", source.
enum class TaskSwitchSource : uint8_t { kCall = 0, kIret = 1, kJump = 2, kGateInIdt = 3 };

struct TaskSwitch {
  uint16_t selector = 0;  // of the new TSS
  TaskSwitchSource source = TaskSwitchSource::kCall;
  uint8_t instruction_length =
      0;             // saved EIP lies behind the instruction; 0 for external events and faults
  bool ext = false;  // EXT flag of error codes
  std::optional<uint32_t> error_code;  // pushed on the new stack
  // RF of the EFLAGS image in the old TSS: 0 for an instruction, which completes with the switch.
  bool saved_rf = false;
};

// Transferred: the state is that of the new task, or that of the host after a VM exit. An Event or
// EptExit before the switch is committed leaves the state as it was. What comes later belongs to
// the new task, whose state is loaded then: a fault in loading its segments or in pushing the error
// code, and the debug trap before its first instruction if the T flag of its TSS is 1.
Outcome switch_task(Core& core, const TaskSwitch& request);

}  // namespace nestor::emu
