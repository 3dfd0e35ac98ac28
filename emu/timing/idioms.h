// SPDX-License-Identifier: GPL-2.0-or-later
//
// Instructions that the front end and the renamer know by their encoding.
#pragma once

#include <cstdint>

#include "emu/timing/encoding.h"
#include "emu/timing/processor.h"

namespace nestor::emu::timing {

enum class Idiom : uint8_t {
  kNone,
  kZero,              // sets a register to zero, without executing anything
  kBreaksDependency,  // its result does not depend on the register that it names twice
  kMove,              // of a general register, to another one
  kVectorMove,
};

// Intel's optimization manual, "Clearing Registers and Dependency Breaking Idioms" and
// "Zero-Latency MOV Instructions".
Idiom idiom_of(const Encoding& encoding);

// POPCNT, LZCNT and TZCNT, which wait for a register that they do not read on some processors.
bool waits_for_destination(const Encoding& encoding, const Processor& processor);

// Intel's optimization manual, "Macro-fusion" of the microarchitectures from Haswell to Ice Lake.
bool may_macro_fuse(const Encoding& first);
bool is_macro_fused(const Encoding& first, const Encoding& second);

}  // namespace nestor::emu::timing
