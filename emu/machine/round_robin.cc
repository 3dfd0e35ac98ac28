// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/round_robin.h"

#include <algorithm>
#include <string>
#include <vector>

namespace nestor::emu {
namespace {

// After so many expiries in a row that wake no processor, those of devices that have expired by
// then are passed over: as long as no processor executes, they raise what they have raised before.
constexpr uint64_t kIdleExpiries = 1'000'000;

// While all processors wait: what comes next.
class Idleness {
 public:
  explicit Idleness(const Bus& bus) : bus_(bus) {}

  void end() {
    expiries_ = 0;
    expired_.clear();
  }
  // Device::kNever: nothing can wake a processor. Deadlines that pass meanwhile are noted.
  uint64_t next(std::span<const std::unique_ptr<Cpu>> cpus) {
    const bool passing = ++expiries_ > kIdleExpiries;
    // Nothing but devices can expire in vain, and each does so once.
    if (expiries_ > 2 * kIdleExpiries) return Device::kNever;
    uint64_t due = Device::kNever;
    for (const auto& cpu : cpus) due = std::min(due, cpu->core().preemption_timer_due());
    for (const Device* device : bus_.timed()) {
      if (!passing || !has_expired(device)) due = std::min(due, device->deadline());
    }
    for (const Device* device : bus_.timed()) {
      if (device->deadline() <= due && due != Device::kNever && !has_expired(device)) {
        expired_.push_back(device);
      }
    }
    return due;
  }

 private:
  bool has_expired(const Device* device) const {
    return std::ranges::find(expired_, device) != expired_.end();
  }

  const Bus& bus_;
  uint64_t expiries_ = 0;
  std::vector<const Device*> expired_;
};

// One turn for each. false: all of them only waited.
bool round(std::span<const std::unique_ptr<Cpu>> cpus, const Turns& turns, const Clock& clock,
           MachineEventSink* events) {
  const bool several = cpus.size() > 1;
  bool busy = false;
  for (size_t i = 0; i < cpus.size() && !turns.end(); ++i) {
    if (several && events != nullptr) events->processor(static_cast<unsigned>(i));
    busy |= cpus[i]->take_turn(several ? clock.cycles() + Turns::kQuantum : Device::kNever);
  }
  return busy;
}

}  // namespace

void run_by_turns(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus,
                  Clock& clock, MachineEventSink* events) {
  Idleness idleness(bus);
  while (!turns.end()) {
    if (round(cpus, turns, clock, events)) {
      idleness.end();
      continue;
    }
    if (turns.end()) return;
    const uint64_t due = idleness.next(cpus);
    if (due == Device::kNever) {
      const char* const who = cpus.size() == 1
                                  ? "the processor waits in HLT or MWAIT, "
                                  : "all processors wait in HLT, MWAIT or for a start-up IPI, ";
      turns.finish(
          {RunEnd::Kind::kHaltedForever, 0,
           std::string(who) +
               (bus.deadline() == Device::kNever ? "and nothing is left that could wake "
                                                 : "and what the timers raise does not reach ") +
               (cpus.size() == 1 ? "it" : "them")});
      return;
    }
    clock.advance_to(due);
  }
}

}  // namespace nestor::emu
