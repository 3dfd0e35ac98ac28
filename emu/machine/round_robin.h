// SPDX-License-Identifier: GPL-2.0-or-later
//
// The order in which the logical processors of a machine run: each its turn, and time passes for
// all of them meanwhile. A machine with one processor runs that one without interruption.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "emu/cpu/cpu.h"
#include "emu/cpu/turns.h"
#include "emu/devices/bus.h"
#include "emu/events/events.h"
#include "emu/time/clock.h"
#include "emu/time/event_queue.h"

namespace nestor::emu {

// While all processors wait: what comes next.
class Idleness {
 public:
  explicit Idleness(const EventQueue& timers) : timers_(timers) {}

  void end();
  // EventQueue::kNever: nothing can wake a processor. Deadlines that pass meanwhile are noted.
  uint64_t next(std::span<const std::unique_ptr<Cpu>> cpus);

  void serialize(Archive& archive);

 private:
  bool has_expired(const EventQueue::Timer* timer) const;

  const EventQueue& timers_;
  uint64_t expiries_ = 0;
  std::vector<const EventQueue::Timer*> expired_;
};

class RoundRobin {
 public:
  // All references outlive this object; `events` and `profiler` may be null.
  RoundRobin(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus, Clock& clock,
             MachineEventSink* events, profile::Profiler* profiler);

  // Runs the processors until `turns.over()`, and goes on where the run has stopped. While all of
  // them wait, the clock goes to what is due next that may wake one; with nothing due, the run is
  // over.
  void run();

  // Whose turn it is; a load tells the events too.
  void serialize(Archive& archive);

 private:
  void name_processor();
  void begin_turn();
  // All processors have had their turns.
  void end_round();
  void halt_for_ever();

  const std::span<const std::unique_ptr<Cpu>> cpus_;
  Turns& turns_;
  const Bus& bus_;
  Clock& clock_;
  MachineEventSink* const events_;
  profile::Profiler* const profiler_;
  Idleness idleness_;
  size_t next_ = 0;        // whose turn it is
  bool in_turn_ = false;   // and whether it has begun,
  uint64_t turn_end_ = 0;  // to end at this time, in cycles
  bool busy_ = false;      // a processor of this round did not only wait
};

}  // namespace nestor::emu
