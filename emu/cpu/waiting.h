// SPDX-License-Identifier: GPL-2.0-or-later
//
// MONITOR and MWAIT. The engine does not tell of stores, so the line counts as written to when its
// content has changed. A store that changes nothing is noticed late: the line counts as written to,
// too, after other processors have executed for a while. The manual allows false wake-ups.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emu/cpu/cpuid.h"
#include "emu/cpu/turns.h"
#include "emu/memory/physical_memory.h"

namespace nestor::emu {

class Waiting {
 public:
  // Both references outlive this object.
  Waiting(const PhysicalMemory& memory, const Turns& turns) : memory_(memory), turns_(turns) {}

  // The engine runs for the processor that this belongs to.
  void engine_runs() { ++own_runs_; }

  // MONITOR: watches the line that holds `physical`. false: it is not in RAM, and not watched.
  bool watch(uint64_t physical);
  // The line may have been written to since; false alarms are possible.
  bool line_written() const;

  // MWAIT: nothing executes before the line is written to, or an event ends the waiting. With
  // `masked_interrupts_wake` an interrupt ends it even if it cannot be delivered.
  void begin(bool masked_interrupts_wake);
  void end() { in_mwait_ = false; }
  // `interrupt`: one is pending. The waiting ends here if there is a reason.
  bool goes_on(bool interrupt);

  void serialize(Archive& archive) {
    archive(own_runs_, line_, content_, runs_of_others_, in_mwait_, masked_interrupts_wake_);
  }

 private:
  // Of the engine. Few enough that nobody waits for long, and many against those that software
  // makes before it stores to the line.
  static constexpr uint64_t kRunsUntilFalseAlarm = 10'000;
  uint64_t runs_of_others() const { return turns_.engine_runs - own_runs_; }

  const PhysicalMemory& memory_;
  const Turns& turns_;
  uint64_t own_runs_ = 0;
  uint64_t line_ = 0;  // physical address
  std::array<uint8_t, kLineSize> content_{};
  uint64_t runs_of_others_ = 0;  // when the line was begun to be watched
  bool in_mwait_ = false, masked_interrupts_wake_ = false;
};

}  // namespace nestor::emu
