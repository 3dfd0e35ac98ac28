// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/round_robin.h"

#include <algorithm>
#include <string>
#include <vector>

namespace nestor::emu {
namespace {

// After so many expiries in a row that wake no processor, those timers that have expired by then
// are passed over: as long as no processor executes, they raise what they have raised before.
constexpr uint64_t kIdleExpiries = 1'000'000;

// While all processors wait: what comes next.
class Idleness {
 public:
  explicit Idleness(const EventQueue& timers) : timers_(timers) {}

  void end() {
    expiries_ = 0;
    expired_.clear();
  }
  // EventQueue::kNever: nothing can wake a processor. Deadlines that pass meanwhile are noted.
  uint64_t next(std::span<const std::unique_ptr<Cpu>> cpus) {
    const bool passing = ++expiries_ > kIdleExpiries;
    // Nothing but timers can expire in vain, and each does so once.
    if (expiries_ > 2 * kIdleExpiries) return EventQueue::kNever;
    uint64_t due = EventQueue::kNever;
    for (const auto& cpu : cpus) due = std::min(due, cpu->preemption_timer_due());
    for (const EventQueue::Timer* timer : timers_.timers()) {
      if (!passing || !has_expired(timer)) due = std::min(due, timer->deadline());
    }
    if (due == EventQueue::kNever) return due;
    for (const EventQueue::Timer* timer : timers_.timers()) {
      if (timer->deadline() <= due && !has_expired(timer)) expired_.push_back(timer);
    }
    return due;
  }

 private:
  bool has_expired(const EventQueue::Timer* timer) const {
    return std::ranges::find(expired_, timer) != expired_.end();
  }

  const EventQueue& timers_;
  uint64_t expiries_ = 0;
  std::vector<const EventQueue::Timer*> expired_;
};

// One turn for each. false: all of them only waited.
bool round(std::span<const std::unique_ptr<Cpu>> cpus, const Turns& turns, const Clock& clock,
           MachineEventSink* events) {
  const bool several = cpus.size() > 1;
  bool busy = false;
  for (size_t i = 0; i < cpus.size() && !turns.end; ++i) {
    if (several && events != nullptr) events->processor(static_cast<unsigned>(i));
    busy |= cpus[i]->take_turn(several ? clock.cycles() + Turns::kQuantum : EventQueue::kNever);
  }
  return busy;
}

}  // namespace

void run_by_turns(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus,
                  Clock& clock, MachineEventSink* events) {
  Idleness idleness(bus.timers());
  while (!turns.end) {
    if (round(cpus, turns, clock, events)) {
      idleness.end();
      continue;
    }
    if (turns.end) return;
    const uint64_t due = idleness.next(cpus);
    if (due == EventQueue::kNever) {
      cpus.front()->end_run(RunEnd::Kind::kHaltedForever, 0);
      const char* const who = cpus.size() == 1
                                  ? "the processor waits in HLT or MWAIT, "
                                  : "all processors wait in HLT, MWAIT or for a start-up IPI, ";
      turns.end->detail =
          std::string(who) +
          (bus.deadline() == EventQueue::kNever ? "and nothing is left that could wake "
                                                : "and what the timers raise does not reach ") +
          (cpus.size() == 1 ? "it" : "them");
      return;
    }
    clock.advance_to(due);
  }
}

}  // namespace nestor::emu
