// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/apic/io_apic.h"

namespace nestor::emu {
namespace {

enum Offset : uint64_t { kSelect = 0x00, kWindow = 0x10, kEoi = 0x40 };
enum Index : uint32_t { kId = 0, kVersion = 1, kArbitration = 2, kEntries = 0x10 };

// Version 20H has the EOI register.
constexpr uint32_t kVersionValue = 0x20 | (IoApic::kPins - 1) << 16;

// Redirection entry.
constexpr uint64_t kLogical = 1u << 11, kRemoteIrr = 1u << 14, kLevel = 1u << 15,
                   kMasked = 1u << 16;
constexpr uint64_t kDeliveryStatus = 1u << 12;
constexpr uint64_t kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr uint64_t kValid = 0xff0000000001ffff;

}  // namespace

IoApic::IoApic(std::function<void(const Ipi&)> send) : send_(std::move(send)) {
  state_.entries.fill(kMasked);
}

uint64_t IoApic::read_memory(DeviceAddress at, unsigned /*size*/) {
  if (at.offset == kSelect) return state_.select;
  return at.offset == kWindow ? read_indirect() : 0;
}

void IoApic::write_memory(DeviceAddress at, unsigned /*size*/, uint64_t value) {
  if (at.offset == kSelect) {
    state_.select = value & 0xff;
  } else if (at.offset == kWindow) {
    write_indirect(static_cast<uint32_t>(value));
  } else if (at.offset == kEoi) {
    end_of_interrupt(static_cast<uint8_t>(value));
  }
}

uint32_t IoApic::read_indirect() const {
  if (state_.select == kId || state_.select == kArbitration) return state_.id;
  if (state_.select == kVersion) return kVersionValue;
  const uint32_t pin = (state_.select - kEntries) / 2;
  if (state_.select < kEntries || pin >= kPins) return 0;
  return static_cast<uint32_t>(state_.entries[pin] >> (state_.select & 1 ? 32 : 0));
}

void IoApic::write_indirect(uint32_t value) {
  if (state_.select == kId) state_.id = value & 0x0f000000;
  const uint32_t pin = (state_.select - kEntries) / 2;
  if (state_.select < kEntries || pin >= kPins) return;
  uint64_t& entry = state_.entries[pin];
  const uint64_t whole = state_.select & 1 ? (entry & 0xffffffff) | uint64_t{value} << 32
                                           : (entry & ~0xffffffffull) | value;
  entry = (whole & kValid & ~kReadOnly) | (entry & kReadOnly);
  // An edge-triggered entry has no remote IRR; system software clears a stuck one by switching
  // modes.
  if (!(entry & kLevel)) entry &= ~kRemoteIrr;
  service_level(pin);
}

void IoApic::set_pin(unsigned pin, bool level) {
  if (pin >= kPins) return;
  const bool rises = level && !state_.lines[pin];
  state_.lines[pin] = level;
  if (state_.entries[pin] & kLevel) {
    service_level(pin);
  } else if (rises && !(state_.entries[pin] & kMasked)) {
    send(pin);  // an edge at a masked input is lost
  }
}

bool IoApic::passes(unsigned pin) const {
  return pin < kPins && (state_.entries[pin] & kMasked) == 0;
}

void IoApic::service_level(unsigned pin) {
  uint64_t& entry = state_.entries[pin];
  if (!(entry & kLevel) || (entry & (kMasked | kRemoteIrr)) || !state_.lines[pin]) return;
  const DeliveryMode mode = DeliveryMode(entry >> 8 & 7);
  // Only interrupts that end with an EOI have a remote IRR.
  if (mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority) entry |= kRemoteIrr;
  send(pin);
}

void IoApic::send(unsigned pin) {
  const uint64_t entry = state_.entries[pin];
  Ipi message;
  message.mode = DeliveryMode(entry >> 8 & 7);
  message.vector = static_cast<uint8_t>(entry);
  message.logical = entry & kLogical;
  message.level = entry & kLevel;
  message.destination = static_cast<uint32_t>(entry >> 56);
  if (send_) send_(message);
}

void IoApic::end_of_interrupt(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = state_.entries[pin];
    if (!(entry & kRemoteIrr) || static_cast<uint8_t>(entry) != vector) continue;
    entry &= ~kRemoteIrr;
    service_level(pin);
  }
}

}  // namespace nestor::emu
