// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is due when: timers by name, in virtual time. There is one queue in a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {

class EventQueue {
 public:
  // The deadline of a timer that is not set.
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  // An entry of the queue, from construction to destruction. It is what saved state knows by its
  // name; the function is made anew by whoever owns the timer.
  class Timer {
   public:
    // `expired` gets the present time. The name is unique in the queue, which outlives the timer;
    // throws std::logic_error if it is not.
    Timer(EventQueue& queue, std::string name, std::function<void(uint64_t now)> expired);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    const std::string& name() const { return name_; }
    // In cycles of the clock.
    uint64_t deadline() const { return deadline_; }
    // Replaces the deadline; kNever: nothing is due. It may be in the past.
    void set(uint64_t deadline);

   private:
    friend EventQueue;
    EventQueue& queue_;
    const std::string name_;
    const std::function<void(uint64_t)> expired_;
    uint64_t deadline_ = kNever;
    uint64_t round_ = 0;  // of the last call
  };

  EventQueue() = default;
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  // The earliest of all; read at each instruction boundary.
  uint64_t deadline() const { return earliest_; }
  // Calls the timers that are due at `now`, the earliest first; among equals the one that was
  // registered first. A timer is no longer set when it is called. Each is called at most once: what
  // one sets itself to, even if it has passed, is for the next call of expire().
  void expire(uint64_t now);

  // In the order of registration.
  const std::vector<Timer*>& timers() const { return timers_; }
  // nullptr: there is none of that name.
  Timer* find(std::string_view name) const;

  // Saves or loads the deadlines. A load needs the timers that there were, by name and in order.
  template <typename Archive>
  void serialize(Archive& archive) {
    for (Timer* timer : timers_) {
      archive.section(timer->name_);
      archive(timer->deadline_);
    }
    find_earliest();
  }

 private:
  Timer* next_due(uint64_t now) const;
  void find_earliest();

  std::vector<Timer*> timers_;  // few: one or two a device
  uint64_t earliest_ = kNever;
  uint64_t round_ = 0;  // calls of expire() that found something due
};

}  // namespace nestor::emu
