// SPDX-License-Identifier: GPL-2.0-or-later
//
// A whole PC: the processor, RAM, interrupt controllers and devices, ready to boot an image.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "emu/engine/engine.h"
#include "emu/events/events.h"
#include "emu/l0/counters.h"
#include "emu/l0/mode.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

struct MachineConfig {
  uint64_t memory_bytes = 256ull << 20;  // see Ram for the limits
  uint64_t max_instructions = 0;         // of all processors together; 0: no limit
  static constexpr unsigned kMaximumProcessors = 8;
  unsigned processors = 1;   // logical processors, 1 to kMaximumProcessors
  uint64_t random_seed = 1;  // of RDRAND and RDSEED; each processor has its own sequence
  L0Config l0{};
  // Cached translations stay until an operation must invalidate them, and the use of one that the
  // tables no longer hold is reported.
  bool keep_translations = false;
};

struct MachineOutputs {
  std::function<void(uint8_t)> serial;   // what COM1 transmits
  std::function<void(uint8_t)> console;  // what is written to port 0xe9
  MachineEventSink* events = nullptr;    // may be null; outlives the machine
  // Asked now and then while the guest runs; true ends the run with kOutputError.
  std::function<bool()> output_failed;
  // Called now and then while the guest runs, with the instructions executed so far.
  std::function<void(uint64_t)> progress;
};

struct RunResult {
  enum class Kind {
    kDebugExit,      // code: the exit status, (value << 1) | 1
    kShutdown,       // triple fault
    kVmxAbort,       // code: the VMX-abort indicator
    kBudgetSpent,    // max_instructions were executed
    kHaltedForever,  // HLT or MWAIT, and nothing is left that could wake a processor
    kReset,          // the guest pulsed the reset line
    kOutputError,    // MachineOutputs::output_failed
    kUnsupported,    // the guest needs what the chosen way of running it has not
  } kind = Kind::kDebugExit;
  uint32_t code = 0;
  std::string detail;  // one line for the user; may be empty
  uint64_t instructions = 0, cycles = 0;
  uint64_t stale_translations = 0;  // uses of them, with keep_translations
};

class Machine {
 public:
  // Throws RamError when the memory cannot be had.
  static std::variant<std::unique_ptr<Machine>, HostError> create(const MachineConfig&,
                                                                  const MachineOutputs&);
  virtual ~Machine() = default;

  // What a loader may use.
  virtual MemoryMap memory_map() const = 0;
  // Copies the pieces of an image to memory and sets the processor to its initial state.
  virtual void load(const LoadedImage& image) = 0;
  // Runs until something ends the run. To be called once.
  virtual RunResult run() = 0;
  // What L0 did so far; all zeros where there is none.
  virtual L0Counters l0_counters() const { return {}; }
};

}  // namespace nestor::emu
