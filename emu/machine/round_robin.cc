// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/round_robin.h"

#include <algorithm>

namespace nestor::emu {
namespace {

// After so many expiries in a row that wake none of them, the processors wait for ever.
constexpr uint64_t kIdleExpiries = 1'000'000;

// One turn for each. false: all of them only waited.
bool round(std::span<const std::unique_ptr<Cpu>> cpus, const Turns& turns, const Clock& clock,
           MachineEventSink* events) {
  const bool several = cpus.size() > 1;
  bool busy = false;
  for (size_t i = 0; i < cpus.size() && !turns.end; ++i) {
    if (several && events != nullptr) events->processor(static_cast<unsigned>(i));
    busy |= cpus[i]->take_turn(several ? clock.cycles() + Turns::kQuantum : Device::kNever);
  }
  return busy;
}

}  // namespace

void run_by_turns(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus,
                  Clock& clock, MachineEventSink* events) {
  uint64_t idle_expiries = 0;
  while (!turns.end) {
    if (round(cpus, turns, clock, events)) {
      idle_expiries = 0;
      continue;
    }
    if (turns.end) return;
    uint64_t due = bus.deadline();
    for (const auto& cpu : cpus) due = std::min(due, cpu->preemption_timer_due());
    if (due == Device::kNever || ++idle_expiries > kIdleExpiries) {
      cpus.front()->end_run(RunResult::Kind::kHaltedForever, 0);
      const char* const who = cpus.size() == 1
                                  ? "the processor waits in HLT or MWAIT, "
                                  : "all processors wait in HLT, MWAIT or for a start-up IPI, ";
      turns.end->detail = std::string(who) +
                          (due == Device::kNever ? "and nothing is left that could wake "
                                                 : "and what the timers raise does not reach ") +
                          (cpus.size() == 1 ? "it" : "them");
      return;
    }
    clock.advance_to(due);
  }
}

}  // namespace nestor::emu
