// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a run stops before its end.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace nestor::emu {

// Memory whose use stops a run.
struct Watchpoint {
  uint64_t address = 0, size = 1;
  // `address` is where the processor's translation leads, else a linear address.
  bool physical = false;
  bool read = false, written = false;  // which accesses count
  int level = 0;                       // whose: L1's (1), L2's (2), or both (0)
  bool operator==(const Watchpoint&) const = default;
};

// A run with stops is the same as one without: the same events at the same virtual time.
struct Until {
  // So many instructions were completed by all processors together. The run stops before the first
  // block of code that starts then or later, so it may have gone a little further.
  std::optional<uint64_t> instructions{};
  bool step = false;  // one instruction was completed, by whichever processor
  // VM exits and VM entries as L1 sees them: before the first instruction after it.
  bool vm_exit = false, vm_entry = false;
  // Linear addresses: before the instruction there, whoever runs. An instruction at which the run
  // has just stopped is passed.
  std::vector<uint64_t> breakpoints{};
  std::optional<unsigned> step_processor{};  // `step` means instructions of this one alone
  // After an instruction that uses this memory as its operand or its stack. What else uses memory
  // does not count: page walks, the delivery of events, devices.
  std::vector<Watchpoint> watchpoints{};
  // After RDMSR or WRMSR of one of these, or after an access by IN, OUT, INS or OUTS to one of
  // these ports; a VM exit may have come of the instruction.
  std::vector<uint32_t> msrs{};
  std::vector<uint16_t> ports{};

  bool steps(unsigned processor) const {
    return step && step_processor.value_or(processor) == processor;
  }
};

struct Pause {
  enum class Reason : uint8_t {
    kInstructions,
    kStep,
    kVmExit,
    kVmEntry,
    kBreakpoint,
    kWatchpoint,
    kMsr,
    kPort,
    kRequest,
  };
  Reason reason{};
  unsigned processor = 0;  // where; counts from 0. Of kRequest always 0
  // kWatchpoint: that watchpoint's address; kMsr, kPort: which.
  uint64_t address = 0;
};

}  // namespace nestor::emu
