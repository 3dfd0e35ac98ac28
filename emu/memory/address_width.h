// SPDX-License-Identifier: GPL-2.0-or-later
//
// CPUID.80000008H:EAX: MAXPHYADDR and the width of linear addresses, and the size of a page.
#pragma once

#include <cstdint>

#include "ept/address.h"

namespace nestor::emu {

inline constexpr uint8_t kPhysicalAddressBits = 46;
inline constexpr uint8_t kLinearAddressBits = 57;
using ept::kPageSize;

}  // namespace nestor::emu
