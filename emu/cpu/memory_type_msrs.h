// SPDX-License-Identifier: GPL-2.0-or-later
//
// The MTRRs. Nothing follows from memory types, but software reads back what it has written.
#pragma once

#include <cstdint>

#include "vmx/processor.h"

namespace nestor::emu {

class Core;

// As read_msr() and write_msr(), of an MTRR or IA32_MTRRCAP.
vmx::MsrStatus read_mtrr(Core& core, uint32_t index, uint64_t& value);
vmx::MsrStatus write_mtrr(Core& core, uint32_t index, uint64_t value);

// Whether each byte is a memory type that IA32_PAT can hold.
bool are_pat_types(uint64_t value);

}  // namespace nestor::emu
