// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/round_robin.h"

#include <algorithm>
#include <string>
#include <utility>

namespace nestor::emu {
namespace {

// After so many expiries in a row that wake no processor, those timers that have expired by then
// are passed over: as long as no processor executes, they raise what they have raised before.
constexpr uint64_t kIdleExpiries = 1'000'000;

}  // namespace

void Idleness::end() {
  expiries_ = 0;
  expired_.clear();
}

bool Idleness::has_expired(const EventQueue::Timer* timer) const {
  return std::ranges::find(expired_, timer) != expired_.end();
}

void Idleness::serialize(Archive& archive) {
  archive(expiries_);
  if (archive.loads()) expired_.clear();
  for (const EventQueue::Timer* timer : timers_.timers()) {
    bool expired = has_expired(timer);
    archive(expired);
    if (expired && !has_expired(timer)) expired_.push_back(timer);
  }
}

uint64_t Idleness::next(std::span<const std::unique_ptr<Cpu>> cpus) {
  const bool passing = ++expiries_ > kIdleExpiries;
  // Nothing but timers can expire in vain, and each does so once.
  if (expiries_ > 2 * kIdleExpiries) return EventQueue::kNever;
  uint64_t due = EventQueue::kNever;
  for (const auto& cpu : cpus) due = std::min(due, cpu->core().preemption_timer_due());
  for (const EventQueue::Timer* timer : timers_.timers()) {
    if (!passing || !has_expired(timer)) due = std::min(due, timer->deadline());
  }
  if (due == EventQueue::kNever) return due;
  for (const EventQueue::Timer* timer : timers_.timers()) {
    if (timer->deadline() <= due && !has_expired(timer)) expired_.push_back(timer);
  }
  return due;
}

RoundRobin::RoundRobin(std::span<const std::unique_ptr<Cpu>> cpus, Turns& turns, const Bus& bus,
                       Clock& clock, MachineEventSink* events, profile::Profiler* profiler)
    : cpus_(cpus),
      turns_(turns),
      bus_(bus),
      clock_(clock),
      events_(events),
      profiler_(profiler),
      idleness_(bus.timers()) {}

void RoundRobin::run() {
  while (!turns_.over()) {
    if (next_ == cpus_.size()) {
      end_round();
      continue;
    }
    if (!in_turn_) begin_turn();
    busy_ |= cpus_[next_]->run(turn_end_);
    if (!cpus_[next_]->turn_is_over()) return;  // the run stops, or is over
    cpus_[next_++]->end_turn();
    in_turn_ = false;
  }
}

void RoundRobin::serialize(Archive& archive) {
  archive(next_, in_turn_, turn_end_, busy_);
  archive.require(next_ <= cpus_.size() && !(in_turn_ && next_ == cpus_.size()));
  idleness_.serialize(archive);
  if (archive.loads() && archive.ok() && in_turn_) name_processor();
}

void RoundRobin::name_processor() {
  if (cpus_.size() > 1 && events_ != nullptr) events_->processor(static_cast<unsigned>(next_));
  if (profiler_ != nullptr) profiler_->turn_to(static_cast<unsigned>(next_));
}

void RoundRobin::begin_turn() {
  name_processor();
  turn_end_ = cpus_.size() > 1 ? clock_.cycles() + Turns::kQuantum : EventQueue::kNever;
  cpus_[next_]->begin_turn();
  in_turn_ = true;
}

void RoundRobin::end_round() {
  next_ = 0;
  if (std::exchange(busy_, false)) {
    idleness_.end();
    return;
  }
  const uint64_t due = idleness_.next(cpus_);
  if (due == EventQueue::kNever) {
    halt_for_ever();
  } else {
    if (cpus_.size() > 1 && events_ != nullptr) events_->all_wait();
    if (profiler_ != nullptr) profiler_->all_wait();
    if (turns_.idle && due > clock_.cycles()) turns_.idle(clock_.cycles(), due);
    clock_.advance_to(due);
  }
}

void RoundRobin::halt_for_ever() {
  const bool alone = cpus_.size() == 1;
  std::string why = alone ? "the processor waits in HLT or MWAIT, "
                          : "all processors wait in HLT, MWAIT or for a start-up IPI, ";
  why += bus_.deadline() == EventQueue::kNever ? "and nothing is left that could wake "
                                               : "and what the timers raise does not reach ";
  turns_.finish({RunEnd::Kind::kHaltedForever, 0, why + (alone ? "it" : "them")});
}

}  // namespace nestor::emu
