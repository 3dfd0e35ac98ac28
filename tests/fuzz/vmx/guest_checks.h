// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a VM exit says of the instructions of L2 before it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "tests/fuzz/vmx/case.h"
#include "vmx/events.h"

namespace nestor::fuzz {

// Called with what does not hold and two values that show it.
using Doubt = std::function<void(std::string_view what, uint64_t value, uint64_t other)>;

// `arena`: as it is at the VM exit. `first`: it is the first VM exit of the case.
void check_guest(const Case& base, const Case& change, const vmx::VmExitEvent& event, bool first,
                 std::span<const uint8_t> arena, const Doubt& doubt);

}  // namespace nestor::fuzz
