// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why an access to linear memory could not be made, and how the emulation of an instruction ended.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "vmx/cpu_state.h"
#include "vmx/vmx.h"

namespace nestor::emu {

// An access of L2 that EPT refused, or that the page-modification log has no room for; it becomes a
// VM exit.
struct EptExit {
  bool misconfiguration = false;
  bool sub_page_event = false;  // SPP-related event
  bool convertible = false;     // EPT violation that EPT allows to become #VE
  uint64_t qualification = 0;   // EPT violation or SPP-related event
  uint64_t guest_physical = 0;
  std::optional<uint64_t> guest_linear;
  bool log_full = false;  // nothing else counts then
  // An access to the APIC-access page, at this offset; nothing else counts then.
  std::optional<vmx::Vmx::ApicAccess> apic_access;
  uint16_t apic_offset = 0;
};

// A page fault to deliver, or an EPT violation or misconfiguration.
using Fault = std::variant<vmx::Event, EptExit>;

// An instruction that goes on elsewhere is over, or one iteration of a repeated one: the state, RIP
// included, is that at this instruction boundary, where an MTF VM exit or a single-step trap may be
// due.
struct Jumped {};

// How one instruction ended: see vmx::Completed and vmx::Transferred, which is left to VM entries,
// VM exits and task switches. An Event is a fault or, for software interrupts, the event to
// deliver; but for RF nothing has changed.
using Outcome = std::variant<vmx::Completed, Jumped, vmx::Transferred, vmx::Event, EptExit>;

constexpr Outcome to_outcome(const Fault& fault) {
  if (const auto* event = std::get_if<vmx::Event>(&fault)) return *event;
  return std::get<EptExit>(fault);
}

constexpr Outcome to_outcome(const vmx::Outcome& outcome) {
  if (std::holds_alternative<vmx::Completed>(outcome)) return vmx::Completed{};
  if (std::holds_alternative<vmx::Transferred>(outcome)) return vmx::Transferred{};
  return std::get<vmx::Event>(outcome);
}

}  // namespace nestor::emu
