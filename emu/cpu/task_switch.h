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
  bool push_rf = false;                // the EFLAGS image of the old task has RF = 1
};

// Transferred: the state is that of the new task, or that of the host after a VM exit. An Event or
// EptExit before the switch is committed leaves the state as it was; a fault in loading the new
// task's segments, or in pushing the error code, belongs to the new task, whose state is loaded
// then.
Outcome switch_task(Core& core, const TaskSwitch& request);

}  // namespace nestor::emu
