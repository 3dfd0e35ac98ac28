// SPDX-License-Identifier: GPL-2.0-or-later
//
// The boundary between two instructions, and what is due there.
#pragma once

#include "emu/cpu/event_delivery.h"
#include "emu/cpu/hardware_core.h"
#include "emu/cpu/signals.h"

namespace nestor::emu {

// Whether interrupts are neither masked nor blocked for an instruction.
bool interrupt_window_open(const vmx::CpuState& state);

class InstructionBoundary {
 public:
  // All references outlive this object.
  InstructionBoundary(HardwareCore& core, EventDelivery& delivery, Signals& signals)
      : core_(core), delivery_(delivery), signals_(signals) {}

  // Takes what is due before the next instruction, the first of all. true: something was taken, and
  // the boundary is another one.
  bool take_event();
  // Nothing executes here: HLT, shutdown, wait-for-SIPI, MWAIT.
  bool is_waiting();

 private:
  bool take_debug_exceptions();
  bool take_nmi();
  bool take_interrupt();

  HardwareCore& core_;
  EventDelivery& delivery_;
  Signals& signals_;
};

}  // namespace nestor::emu
