// SPDX-License-Identifier: GPL-2.0-or-later
//
// What carries interrupt messages between the local APICs, and from the I/O APIC to them.
#pragma once

#include <vector>

#include "emu/devices/apic/local_apic.h"

namespace nestor::emu {

class ApicNetwork {
 public:
  // `apic` outlives the network. In the order of the APIC IDs.
  void add(LocalApic& apic) { apics_.push_back(&apic); }

  // Delivers the message to each local APIC that accepts it. `sender` has taken its own part, or is
  // null when the message does not come from a local APIC. Of lowest priority: to the one APIC,
  // the sender included, with the lowest processor priority; among equals to the lowest ID ("Lowest
  // Priority Delivery Mode" leaves the choice to the processors).
  void send(const Ipi& message, const LocalApic* sender) const;

 private:
  std::vector<LocalApic*> apics_;
};

}  // namespace nestor::emu
