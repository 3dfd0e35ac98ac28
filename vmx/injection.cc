// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/injection.h"

namespace nestor::vmx {

Injection decode_injection(uint32_t information, uint32_t error_code, uint32_t length) {
  Injection injection;
  if (!(information & interruption::kValid)) return injection;
  Event event;
  event.type = interruption::type_of(information);
  event.vector = static_cast<uint8_t>(information);
  if (event.type == EventType::kOther) {
    injection.pending_mtf = true;
    return injection;
  }
  if (information & interruption::kErrorCode) event.error_code = error_code;
  if (is_software(event.type)) event.instruction_length = static_cast<uint8_t>(length);
  injection.event = event;
  return injection;
}

}  // namespace nestor::vmx
