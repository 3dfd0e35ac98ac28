// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/time/event_queue.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace nestor::emu {

EventQueue::Timer::Timer(EventQueue& queue, std::string name, std::function<void(uint64_t)> expired)
    : queue_(queue), name_(std::move(name)), expired_(std::move(expired)) {
  if (queue_.find(name_) != nullptr) throw std::logic_error("two timers are named " + name_);
  queue_.timers_.push_back(this);
}

EventQueue::Timer::~Timer() {
  std::erase(queue_.timers_, this);
  queue_.find_earliest();
}

void EventQueue::Timer::set(uint64_t deadline) {
  const uint64_t before = std::exchange(deadline_, deadline);
  if (deadline <= queue_.earliest_) {
    queue_.earliest_ = deadline;
  } else if (before == queue_.earliest_) {
    queue_.find_earliest();
  }
}

void EventQueue::find_earliest() {
  earliest_ = kNever;
  for (const Timer* timer : timers_) earliest_ = std::min(earliest_, timer->deadline_);
}

EventQueue::Timer* EventQueue::find(std::string_view name) const {
  const auto found = std::ranges::find(timers_, name, &Timer::name);
  return found == timers_.end() ? nullptr : *found;
}

EventQueue::Timer* EventQueue::next_due(uint64_t now) const {
  Timer* next = nullptr;
  for (Timer* timer : timers_) {
    const bool due = timer->deadline_ <= now && timer->round_ != round_;
    if (due && (next == nullptr || timer->deadline_ < next->deadline_)) next = timer;
  }
  return next;
}

void EventQueue::expire(uint64_t now) {
  if (earliest_ > now) return;
  ++round_;
  while (Timer* timer = next_due(now)) {
    timer->round_ = round_;
    timer->set(kNever);
    timer->expired_(now);
  }
}

}  // namespace nestor::emu
