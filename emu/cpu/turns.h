// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the logical processors of a machine share while they take turns at its one engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "emu/cpu/run_end.h"

namespace nestor::emu {

class Cpu;

struct Turns {
  // A turn ends after so many cycles: before the next block of code, and never within an
  // instruction. Long enough that refilling the TLB at its start is a small part of it, short
  // against the time that software waits for another processor.
  static constexpr uint64_t kQuantum = 20'000;

  // What limits a run and who watches it; see MachineConfig and MachineOutputs.
  uint64_t max_instructions = 0;
  std::function<bool()> output_failed{};
  std::function<void(uint64_t)> progress{};

  std::optional<RunEnd> end;           // the run is over
  const Cpu* engine_holder = nullptr;  // whose translations and state the engine holds
  uint64_t next_report = 0;            // cycles at which the outputs are asked again
  uint64_t stops = 0;                  // boundaries served
  uint64_t runs = 0;                   // of the engine
};

}  // namespace nestor::emu
