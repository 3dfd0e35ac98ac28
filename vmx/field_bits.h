// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bits of VMCS fields by name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vmx/controls.h"
#include "vmx/events.h"
#include "vmx/fields.h"

namespace nestor::vmx {

// Empty: its bits have no names.
std::span<const ControlName> bit_names(Field field);
// Of a field of controls: which; std::nullopt: it is none.
std::optional<ControlGroup> control_group_of(Field field);

// "CR4.UMIP, CR4.PKE".
std::string bit_list(Field field, uint64_t bits);
// "CR0.NE must be 1; CR0.NW must be 0".
std::string requirement_of(Field field, const WrongBits& bits);

}  // namespace nestor::vmx
