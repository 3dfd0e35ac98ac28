// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where the processors of a machine are that stands still, for people to read.
#pragma once

#include <string>

#include "emu/machine/inspection.h"

namespace nestor::emu {

// A line for each processor: level, mode, RIP with the instruction there, RSP, and the last VM exit
// with how often in a row it has been repeated. Each ends in a newline.
std::string describe_places(const Inspection& machine);

// "L2, 64-bit mode, halted".
std::string describe_mode(const Inspection& machine, unsigned processor);

}  // namespace nestor::emu
