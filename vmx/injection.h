// SPDX-License-Identifier: GPL-2.0-or-later
//
// Events as the interruption-information fields of a VMCS write them down: the VM-entry, the
// VM-exit and the IDT-vectoring field share one format.
#pragma once

#include <cstdint>
#include <optional>

#include "vmx/cpu_state.h"

namespace nestor::vmx {

namespace interruption {
inline constexpr uint32_t kErrorCode = 1u << 11, kNmiUnblocking = 1u << 12, kValid = 1u << 31;
constexpr bool is_valid(uint32_t information) { return (information & kValid) != 0; }
constexpr bool has_error_code(uint32_t information) { return (information & kErrorCode) != 0; }
constexpr uint8_t vector_of(uint32_t information) { return static_cast<uint8_t>(information); }
constexpr EventType type_of(uint32_t information) {
  return static_cast<EventType>((information >> 8) & 7);
}
}  // namespace interruption

// The return address of these lies behind the instruction, and its length is reported.
constexpr bool is_software(EventType type) {
  return type == EventType::kSoftwareInterrupt || type == EventType::kSoftwareException ||
         type == EventType::kPrivilegedSoftwareException;
}

// Events that push RFLAGS.RF as 1: the fault-like exceptions. #DF and #MC are aborts, and #DB is a
// trap but for general detect.
constexpr bool is_fault(const Event& event) {
  if (event.type != EventType::kHardwareException) return false;
  if (event.vector == kDb) return (event.payload & debug_cause::kGeneralDetect) != 0;
  return event.vector != kDf && event.vector != kMc;
}

// "VM-Exit Interruption-Information Field" and "IDT-Vectoring Information Field" for an event. In
// real-address mode no event has an error code.
constexpr uint32_t interruption_information(const Event& event, bool protected_mode) {
  uint32_t information =
      interruption::kValid | event.vector | static_cast<uint32_t>(event.type) << 8;
  if (event.error_code && protected_mode) information |= interruption::kErrorCode;
  return information;
}

// What VM entry does because of its interruption-information field.
struct Injection {
  std::optional<Event> event;  // to be delivered through the IDT: the VM entry is vectoring
  bool pending_mtf = false;    // "Injection of Pending MTF VM Exits"
};
// `information`, `error_code`, `length`: the three fields of "VM-Entry Controls for Event
// Injection".
Injection decode_injection(uint32_t information, uint32_t error_code, uint32_t length);

}  // namespace nestor::vmx
