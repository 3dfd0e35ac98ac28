// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a run stops before its end.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace nestor::emu {

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
};

struct Pause {
  enum class Reason : uint8_t { kInstructions, kStep, kVmExit, kVmEntry, kBreakpoint, kRequest };
  Reason reason{};
  unsigned processor = 0;  // where; counts from 0. Of kRequest always 0
};

}  // namespace nestor::emu
