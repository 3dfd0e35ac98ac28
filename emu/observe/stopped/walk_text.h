// SPDX-License-Identifier: GPL-2.0-or-later
//
// A walk for people to read.
#pragma once

#include <string>
#include <string_view>

#include "emu/machine/inspection.h"

namespace nestor::emu {

// "L2's linear address": what a walk begins with.
std::string_view name_view(View view);

// Its entries with their bits by name, in the order of the memory references, and what came of it.
// Lines that end in newlines.
std::string describe_walk(const InspectedWalk& walk);
// One of its entries, and what came of it: a line each, which ends in a newline.
std::string describe_step(const ept::Step& step);
std::string describe_end(const InspectedWalk& walk);

// "present, writable, accessed" and what is to be said of one entry. Dimension::kGuest: of an
// entry with 64 bits, or one with 32, zero-extended.
std::string name_entry_bits(const ept::Step& step);

}  // namespace nestor::emu
