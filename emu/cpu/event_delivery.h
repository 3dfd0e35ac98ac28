// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where what comes out of an instruction, or between two, goes: through the IDT, or to a VM exit.
#pragma once

#include <optional>

#include "emu/cpu/delivery.h"
#include "emu/cpu/hardware_core.h"
#include "emu/cpu/signals.h"

namespace nestor::emu {

class EventDelivery {
 public:
  // Both references outlive this object.
  EventDelivery(HardwareCore& core, const Signals& signals) : core_(core), signals_(signals) {}

  void deliver(const vmx::Event& event, EventOrigin origin = EventOrigin::kProcessor);
  // What an instruction that was not completed came to.
  void settle(const Outcome& outcome);
  // After an instruction that RFLAGS.TF was set for.
  void single_step_trap();

 private:
  void deliver_or_exit(vmx::Event event, EventOrigin origin);
  // `met`: what the delivery of #DF met. `page_fault`: the last one that led there.
  void triple_fault(const vmx::Event& met, const std::optional<vmx::Event>& page_fault);
  void profile(const vmx::Event& event);
  void report(const vmx::Event& event, EventOrigin origin, const std::optional<vmx::Event>& met);

  HardwareCore& core_;
  const Signals& signals_;
};

}  // namespace nestor::emu
