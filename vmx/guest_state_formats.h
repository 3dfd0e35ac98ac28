// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bits of guest-state fields, and which bits of registers VM entries and VM exits move.
#pragma once

#include <cstdint>

namespace nestor::vmx {

// "Guest Non-Register State", field "Interruptibility state".
namespace interruptibility {
inline constexpr uint64_t kBlockingBySti = 1u << 0, kBlockingByMovSs = 1u << 1,
                          kBlockingBySmi = 1u << 2, kBlockingByNmi = 1u << 3,
                          kEnclaveInterruption = 1u << 4;
}

// "Guest Non-Register State", field "Pending debug exceptions": without one of the first two none
// is valid.
namespace pending_debug {
inline constexpr uint64_t kEnabledBreakpoint = 1u << 12, kSingleStep = 1u << 14, kRtm = 1u << 16;
}

// CR0 bits that neither VM entry nor VM exit modifies: ET, NW, CD and the reserved bits.
inline constexpr uint64_t kCr0NotModified =
    1u << 4 | 0xffc0u | 1u << 17 | 0x1ff80000u | 1u << 29 | 1u << 30 | 0xffffffffull << 32;

// DR7 bits that VM entry takes from the field; of the others bit 10 is 1, and all else 0.
inline constexpr uint64_t kDr7Fixed1 = 1u << 10;
inline constexpr uint64_t kDr7Fixed0 = 1u << 12 | 3u << 14 | 0xffffffffull << 32;

// Access rights: the bits that VM exit does not clear.
inline constexpr uint32_t kAccessRightsDefined = 0x1f0ff;

}  // namespace nestor::vmx
