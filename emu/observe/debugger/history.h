// SPDX-License-Identifier: GPL-2.0-or-later
//
// The past of a run: states that were kept, from which any place since the first of them is reached
// by running again. The run is deterministic, so that it is the same.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "emu/machine/inspection.h"
#include "emu/machine/machine.h"
#include "emu/observe/debugger/replay_gate.h"
#include "emu/observe/debugger/snapshot.h"

namespace nestor::emu {

// A place at which a machine can stand still.
struct Position {
  uint64_t instructions = 0;  // completed by all processors
  uint64_t events = 0;        // ReplayGate::Counts::events
  // NOLINTNEXTLINE(modernize-use-nullptr): it takes the 0 of a comparison for a pointer
  auto operator<=>(const Position&) const = default;
};

class History {
 public:
  // Of states, in memory. The newest one is kept in any case.
  static constexpr uint64_t kBudget = 768ull << 20;
  // Between two states, in instructions: as many as are executed again in a part of a second.
  static constexpr uint64_t kInterval = 10'000'000;

  // A run that stops at an instruction count may go further by one block of code, which is on one
  // page or two.
  static constexpr uint64_t kLongestBlock = 2 * kPageSize;

  // Both outlive this object.
  History(Machine& machine, ReplayGate& gate) : machine_(machine), gate_(gate) {}

  Position here() const;
  // The run has been further than it is now: outputs are muted until it is there again.
  bool in_the_past() const { return present_.has_value(); }

  // The machine was changed from outside: what there was cannot be reached any more, and what
  // follows is new.
  void forget();

  // --- forward

  // A state is kept here if the last one is far away. For a machine that is about to run.
  void keep_if_due();
  // Makes a run stop before it leaves the past, and if `keeps_states` where the next one is due.
  void limit(Until& until, bool keeps_states) const;
  // After each run: whether it has come to the present.
  void arrive();
  // An event has come: whether the run has to stop, as this may be the present.
  bool is_present_event() const;

  // --- backward

  size_t states() const { return states_.size(); }
  const Position& state_at(size_t index) const { return states_[index].at; }
  // How many states there are before this place.
  size_t states_before(const Position& place) const;
  // The machine goes back to a state.
  void load(size_t index);
  // Keeps a state of this place. Returns its index.
  size_t keep();

 private:
  struct Kept {
    Position at;
    ReplayGate::Counts counts;
    std::unique_ptr<Snapshot> snapshot;
  };
  uint64_t bytes() const;
  void thin_out();

  Machine& machine_;
  ReplayGate& gate_;
  uint64_t live_pages_ = 0;          // of all states
  std::vector<Kept> states_;         // by place
  std::optional<Position> present_;  // how far the run has been; std::nullopt: it is there
};

}  // namespace nestor::emu
