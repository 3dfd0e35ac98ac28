// SPDX-License-Identifier: GPL-2.0-or-later
//
// A logical processor: its parts, and the order in which they come to work.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/boundary.h"
#include "emu/cpu/engine_driver.h"
#include "emu/cpu/event_delivery.h"
#include "emu/cpu/hardware_core.h"
#include "emu/cpu/signals.h"

namespace nestor::emu {

class Cpu final : private BetweenRuns {
 public:
  // `number` counts from 0, the bootstrap processor.
  Cpu(unsigned number, const Surroundings& around, LocalApic& apic);
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  // The state that the loader prepared; everything else is as after power-up.
  void start(const vmx::CpuState& state) { core_.reset(state); }
  // As after power-up, waiting for a start-up IPI.
  void wait_for_start_up();
  // A turn of the processor, which ends when the clock shows `end`, or the processor executes PAUSE
  // or has to wait. run() goes on with it until then, or until the run is over or stops; false:
  // nothing was done, as the processor waits.
  void begin_turn();
  bool run(uint64_t end);
  bool turn_is_over() const { return turn_over_; }
  void end_turn();

  void serialize(Archive& archive);

  HardwareCore& core() { return core_; }
  const HardwareCore& core() const { return core_; }
  // What other agents ask of it.
  Signals& signals() { return signals_; }

 private:
  bool root_software_is_due() const;
  bool stands_still() const;
  // false: nothing can execute yet, or the run is over.
  bool service_boundary();
  // Goes on with the turn until code is to be executed. false: the turn is over, or the run.
  bool find_code();
  void end_step();
  bool comes_to_code() override {
    end_step();
    return find_code();
  }

  HardwareCore core_;
  Signals signals_{core_};
  EventDelivery delivery_{core_, signals_};
  InstructionBoundary boundary_{core_, delivery_, signals_};
  EngineDriver driver_{core_, delivery_, *this};
  bool waiting_ = false;    // the last boundary left the processor in an inactive state
  bool turn_over_ = false;  // the turn that was begun last
  uint64_t turn_end_ = 0;   // in cycles
  bool busy_ = false;       // something was done since run() was called
};

}  // namespace nestor::emu
