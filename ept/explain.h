// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "ept/paging_mode.h"

namespace nestor::ept {

/// Why a present EPT paging-structure entry of `level` (1..5) is misconfigured, in a few words;
/// empty if it is not present or in order. The first broken rule of SDM, "EPT Misconfigurations".
[[nodiscard]] std::string_view explain_misconfiguration(const EptState& state, std::uint64_t entry,
                                                        unsigned level);

/// Why a present entry of ordinary paging causes a page fault with RSVD set, in a few words; empty
/// if it is not present or in order. `level` is 1..5 as the mode has them; 32-bit entries are
/// zero-extended.
[[nodiscard]] std::string_view explain_reserved_bits(const PagingState& state, std::uint64_t entry,
                                                     unsigned level);

}  // namespace nestor::ept
