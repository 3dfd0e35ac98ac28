// SPDX-License-Identifier: GPL-2.0-or-later
//
// The order in which the logical processors of a machine run: each its turn, and time passes for
// all of them meanwhile. A machine with one processor runs that one without interruption.
#pragma once

#include <memory>
#include <span>

#include "emu/cpu/cpu.h"
#include "emu/cpu/turns.h"
#include "emu/devices/bus.h"
#include "emu/events/events.h"
#include "emu/time/clock.h"

namespace nestor::emu {

// Runs the processors until `turns.end`. While all of them wait, the clock goes to what is due
// next that may wake one; with nothing due, the run is over. `events` may be null.
void run_by_turns(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus,
                  Clock& clock, MachineEventSink* events);

}  // namespace nestor::emu
