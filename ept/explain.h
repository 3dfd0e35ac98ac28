// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "ept/access.h"
#include "ept/linear_walk.h"
#include "ept/paging_mode.h"

namespace nestor::ept {

/// Why a present EPT paging-structure entry of `level` (1..5) is misconfigured, in a few words;
/// empty if it is not present or in order. The first broken rule of SDM, "EPT Misconfigurations".
[[nodiscard]] std::string_view explain_misconfiguration(const EptState& state, std::uint64_t entry,
                                                        unsigned level);

/// Why an entry of `level` (1..4, 1 is the vector) in the tables of sub-page write permissions is
/// misconfigured, in a few words; empty if it is not valid or in order.
[[nodiscard]] std::string_view explain_sub_page_misconfiguration(const EptState& state,
                                                                 std::uint64_t entry,
                                                                 unsigned level);

/// Why a present entry of ordinary paging causes a page fault with RSVD set, in a few words; empty
/// if it is not present or in order. `level` is 1..5 as the mode has them; 32-bit entries are
/// zero-extended.
[[nodiscard]] std::string_view explain_reserved_bits(const PagingState& state, std::uint64_t entry,
                                                     unsigned level);

/// What refused an access with a page fault of `error_code` whose RSVD is 0, in a few words.
/// `rights` are those of the walk; `level` is that of the last entry that was read, 0 if there was
/// none.
[[nodiscard]] std::string_view explain_page_fault(const PagingState& state, Access access,
                                                  std::uint32_t error_code,
                                                  const LinearRights& rights, unsigned level);

/// What made an EPT violation with `exit_qualification`, in a few words. `level` is that of the
/// last EPT entry that was read.
[[nodiscard]] std::string_view explain_ept_violation(std::uint64_t exit_qualification,
                                                     unsigned level);

}  // namespace nestor::ept
