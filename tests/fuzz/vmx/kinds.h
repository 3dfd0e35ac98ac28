// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a case may be about beside VM entry: protection, breakpoints, NMIs.
#pragma once

#include "tests/fuzz/vmx/code.h"
#include "tests/fuzz/vmx/draft.h"

namespace nestor::fuzz {

// CPL 3, or protected mode of 16 bits.
void change_privilege(Draft& draft);
// User and supervisor pages, read-only ones, SMAP and SMEP.
void change_page_rights(Draft& draft);
// Segments that end where L2's operands are: small ones, expand-down ones, such that wrap around.
void change_limits(Draft& draft);
// CS ends within `code`.
void limit_code(Draft& draft, const Code& code);
// Address breakpoints of all kinds, TF, RF, BTF.
void change_debugging(Draft& draft, const Code& code);
// The registers with which `add_nmi` sends one to L2 itself, and what then becomes of NMIs.
void change_nmis(Draft& draft);
void add_nmi(Draft& draft, Code& code);

}  // namespace nestor::fuzz
