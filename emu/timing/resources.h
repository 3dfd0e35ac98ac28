// SPDX-License-Identifier: GPL-2.0-or-later
//
// What instructions take of a core, as a vector whose sums are the vectors of longer code.
//
// A set of ports is taken by the micro-operations that no other port could execute. The sets are
// all that could be the busiest one: those of execution ports, and the ports of memory. So the
// largest element, and not an assignment of micro-operations to ports, is the bound of the ports.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "emu/timing/instruction_price.h"
#include "emu/timing/processor.h"

namespace nestor::emu::timing {

// The unit of time: a cycle has many divisors, as several ports share it.
using Ticks = uint64_t;
inline constexpr Ticks kTicksPerCycle = 240;

inline constexpr unsigned kPortSets = 24;
using PortTimes = std::array<uint32_t, kPortSets>;  // in ticks

// The ports of a set; 0: the processor has fewer sets.
uint16_t port_set(const Processor& processor, unsigned set);

// Adds what the micro-operations take of each set.
void add_port_times(PortTimes& times, const InstructionPrice& price, const Processor& processor);

inline uint32_t busiest(const PortTimes& times) { return *std::ranges::max_element(times); }

}  // namespace nestor::emu::timing
