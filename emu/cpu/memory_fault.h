// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why an access to linear memory could not be made, and how the emulation of an instruction ended.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "ept/ept_walk.h"
#include "ept/linear_walk.h"
#include "vmx/cpu_state.h"
#include "vmx/vmx.h"

namespace nestor::emu {

// --- why an access of L2 becomes a VM exit

struct EptViolation {
  uint64_t qualification = 0;
  uint64_t guest_physical = 0;
  std::optional<uint64_t> guest_linear{};
  bool convertible = false;  // EPT allows it to become #VE
};
struct EptMisconfiguration {
  uint64_t guest_physical = 0;
};
// SPP miss or misconfiguration.
struct SubPageEvent {
  uint64_t qualification = 0;
  uint64_t guest_physical = 0, guest_linear = 0;
};
// There is no room left in the page-modification log.
struct LogFull {};
// An access to the APIC-access page, at this offset.
struct ApicPageAccess {
  vmx::Vmx::ApicAccess access{};
  uint16_t offset = 0;
};

using EptExit =
    std::variant<EptViolation, EptMisconfiguration, SubPageEvent, LogFull, ApicPageAccess>;

// A page fault to deliver, or why there is a VM exit.
using Fault = std::variant<vmx::Event, EptExit>;

// Whether what refused the access may be cached: the processor drops that for the address, so that
// software need not invalidate after it has changed the entry ("Operations that Invalidate TLBs and
// Paging-Structure Caches", and in VMX). What is not present is not cached.
constexpr bool concerns_cached_translation(const Fault& fault) {
  using Ept = ept::EptQualification;
  constexpr uint64_t kRights =
      Ept::kReadable | Ept::kWriteable | Ept::kExecutable | Ept::kUserExecutable;
  if (const auto* event = std::get_if<vmx::Event>(&fault)) {
    const bool present = (event->error_code.value_or(0) & ept::PageFaultCode::kPresent) != 0;
    return event->vector == vmx::kPf && present;
  }
  const auto* violation = std::get_if<EptViolation>(&std::get<EptExit>(fault));
  return violation != nullptr && (violation->qualification & kRights) != 0;
}

// An instruction that goes on elsewhere is over, or one iteration of a repeated one: the state, RIP
// included, is that at this instruction boundary, where an MTF VM exit or a single-step trap may be
// due.
struct Jumped {
  bool traps_by_new_flag = false;  // TF counts as the instruction has left it, not as it was
};

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
