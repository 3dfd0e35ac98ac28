// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a message means that a PCI function writes to memory: SDM, "Message Signalled Interrupts".
#pragma once

#include <cstdint>
#include <optional>

#include "emu/devices/apic/local_apic.h"

namespace nestor::emu {

// std::nullopt: a write elsewhere is no interrupt. "Message Address Register Format" and "Message
// Data Register Format".
constexpr std::optional<Ipi> interrupt_of_message(uint64_t address, uint32_t data) {
  constexpr uint64_t kInterruptAddresses = 0xfee00000, kAddressMask = ~uint64_t{0xfffff};
  constexpr uint64_t kLogical = 1u << 2, kRedirection = 1u << 3;
  constexpr uint32_t kLevel = 1u << 15;
  if ((address & kAddressMask) != kInterruptAddresses) return std::nullopt;
  Ipi message;
  message.vector = static_cast<uint8_t>(data);
  message.mode = DeliveryMode(data >> 8 & 7);
  message.level = (data & kLevel) != 0;
  message.logical = (address & kLogical) != 0;
  message.destination = address >> 12 & 0xff;
  if (message.mode == DeliveryMode::kFixed && (address & kRedirection) != 0)
    message.mode = DeliveryMode::kLowestPriority;
  return message;
}

}  // namespace nestor::emu
