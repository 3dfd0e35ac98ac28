// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/injection.h"

namespace nestor::vmx {

Injection decode_injection(uint32_t information, uint32_t error_code, uint32_t length) {
  Injection injection;
  if (!interruption::is_valid(information)) return injection;
  Event event;
  event.type = interruption::type_of(information);
  event.vector = interruption::vector_of(information);
  if (event.type == EventType::kOther) {
    injection.pending_mtf = true;
    return injection;
  }
  if (interruption::has_error_code(information)) event.error_code = error_code;
  if (is_software(event.type)) event.instruction_length = static_cast<uint8_t>(length);
  injection.event = event;
  return injection;
}

}  // namespace nestor::vmx
