// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which bits of a field a check objects to.
#pragma once

#include <string>

#include "vmx/checks/entry_checks.h"

namespace nestor::emu {

struct WrongBits {
  uint64_t zero = 0, one = 0;  // wrongly 0, wrongly 1

  bool empty() const { return zero == 0 && one == 0; }
  WrongBits operator&(const WrongBits& other) const { return {zero & other.zero, one & other.one}; }
};

// Of a check that fails on fixed or reserved bits: the bits that count, so not PE and PG of CR0
// with unrestricted guest. Empty for other checks.
WrongBits wrong_bits(const vmx::EntryCheck& check, const vmx::CheckContext& context);

// "CR0.NE must be 1; CR4.UMIP must be 0".
std::string requirement_of(vmx::Field field, const WrongBits& bits);
// "CR4.UMIP, CR4.PKE".
std::string bit_list(vmx::Field field, uint64_t bits);

}  // namespace nestor::emu
