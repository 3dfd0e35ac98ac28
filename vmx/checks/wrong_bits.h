// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which bits of a field a check objects to.
#pragma once

#include "vmx/checks/entry_checks.h"

namespace nestor::vmx {

// Of a check that fails on fixed or reserved bits: the bits that count, so not PE and PG of CR0
// with unrestricted guest. Empty for other checks.
WrongBits wrong_bits(const EntryCheck& check, const CheckContext& context);

}  // namespace nestor::vmx
