// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "emu/native/guest_memory.h"
#include "emu/native/random.h"
#include "emu/native/virtual_machine.h"
#include "ept/paging_mode.h"

namespace nestor::emu::native {

/// A paging state of the mode with control bits that the features allow, for tables at
/// `Layout::kTables`. `load_pdptes` completes it once the tables are written.
[[nodiscard]] ept::PagingState random_state(Random& random, ept::PagingMode mode,
                                            const Features& features);

/// Fills all tables under test: mostly entries that lead on, and of every level some that do not:
/// absent, with reserved bits, with every combination of rights and flags, mapping large pages,
/// referencing tables of another level or themselves, or lying outside the memory.
///
/// On AMD, entries above level 2 that reference tables keep bit 8 clear, which AMD reserves there.
void fill_tables(Random& random, const ept::PagingState& state, bool amd, GuestMemory& memory);

/// Reads the PDPTE registers from the tables, for PAE; otherwise does nothing.
void load_pdptes(ept::PagingState& state, GuestMemory& memory);

/// An address anywhere; some of them are not canonical.
[[nodiscard]] std::uint64_t random_linear(Random& random, const ept::PagingState& state);

}  // namespace nestor::emu::native
