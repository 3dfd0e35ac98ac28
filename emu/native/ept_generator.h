// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "emu/native/guest_memory.h"
#include "emu/native/nested_layout.h"
#include "emu/native/random.h"
#include "ept/access.h"
#include "ept/paging_mode.h"

namespace nestor::emu::native {

/// EPT for tables at `NestedLayout::kTables`: of 4 or 5 levels, with accessed and dirty flags or
/// without, as far as IA32_VMX_EPT_VPID_CAP of L1 allows.
[[nodiscard]] ept::EptState random_ept_state(Random& random, std::uint64_t capabilities,
                                             std::uint8_t width);

/// Fills all EPT tables under test: mostly entries that lead on, and of every level some that do
/// not: absent, with reserved bits, memory types or rights, with every combination of rights and
/// flags, mapping large pages, referencing tables of another level or themselves, or lying outside
/// the memory. Fills the paging data likewise with entries for L2's paging.
void fill_ept_tables(Random& random, const ept::EptState& state, GuestMemory& memory);

/// What is asked of both sides: how L2's `linear` translates after `path` was written, or what
/// comes of an access to it.
struct EptQuestion {
  ept::EptState ept;
  bool wp = false;    ///< CR0.WP of L2.
  bool user = false;  ///< L2 runs at CPL 3.
  GuestPath path;
  std::uint64_t linear = 0;
  std::optional<ept::Access> access{};  ///< Nothing: KVM_TRANSLATE.
};
/// About tables with this state; `execute` asks for an access.
[[nodiscard]] EptQuestion random_ept_question(Random& random, const EptQuestion& about,
                                              bool execute);

}  // namespace nestor::emu::native
