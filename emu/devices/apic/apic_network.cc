// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/apic/apic_network.h"

namespace nestor::emu {

void ApicNetwork::send(const Ipi& message, const LocalApic* sender) const {
  const bool arbitrated = message.mode == DeliveryMode::kLowestPriority;
  const bool sender_takes_part = arbitrated && message.shorthand != Shorthand::kAllExcludingSelf;
  LocalApic* chosen = nullptr;
  for (LocalApic* apic : apics_) {
    if ((apic == sender && !sender_takes_part) || !apic->accepts(message)) continue;
    if (!arbitrated) {
      apic->deliver(message);
    } else if (apic->software_enabled() && (chosen == nullptr || apic->ppr() < chosen->ppr())) {
      chosen = apic;
    }
  }
  if (chosen != nullptr) chosen->deliver(message);
}

}  // namespace nestor::emu
