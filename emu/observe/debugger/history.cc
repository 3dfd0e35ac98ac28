// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/history.h"

#include <algorithm>

namespace nestor::emu {
Position History::here() const {
  const Inspection& machine = *machine_.inspection();
  Position place{0, gate_.counts().events};
  for (unsigned i = 0; i < machine.processors(); ++i) place.instructions += machine.instructions(i);
  return place;
}

void History::forget() {
  states_.clear();
  present_.reset();
  gate_.mute(false);
}

void History::keep_if_due() {
  if (in_the_past()) return;
  if (!states_.empty() && here().instructions < states_.back().at.instructions + kInterval) return;
  keep();
}

void History::limit(Until& until, bool keeps_states) const {
  const auto stop_at = [&](uint64_t instructions) {
    until.instructions = std::min(until.instructions.value_or(~0ull), instructions);
  };
  if (!present_) {
    if (keeps_states && !states_.empty()) stop_at(states_.back().at.instructions + kInterval);
    return;
  }
  if (here().instructions + kLongestBlock < present_->instructions) {
    stop_at(present_->instructions - kLongestBlock);
    return;
  }
  // Then one by one.
  until.step = true;
  until.step_processor.reset();
}

bool History::is_present_event() const {
  return present_ && gate_.counts().events == present_->events;
}

void History::arrive() {
  if (!present_ || here() < *present_) return;
  present_.reset();
  gate_.mute(false);
}

size_t History::states_before(const Position& place) const {
  const auto first = std::ranges::lower_bound(states_, place, {}, &Kept::at);
  return static_cast<size_t>(first - states_.begin());
}

void History::load(size_t index) {
  if (!present_) present_ = here();
  gate_.mute(true);
  states_[index].snapshot->load(machine_);
  gate_.restore(states_[index].counts);
}

size_t History::keep() {
  Kept kept{here(), gate_.counts(), nullptr};
  const size_t index = states_before(kept.at);
  if (index < states_.size() && states_[index].at == kept.at) return index;
  const Snapshot* const before = index != 0 ? states_[index - 1].snapshot.get() : nullptr;
  kept.snapshot = std::make_unique<Snapshot>(machine_, before, live_pages_);
  states_.insert(states_.begin() + static_cast<std::ptrdiff_t>(index), std::move(kept));
  if (bytes() > kBudget) thin_out();
  return states_before(here());
}

uint64_t History::bytes() const {
  uint64_t bytes = live_pages_ * kPageSize;
  for (const Kept& kept : states_) bytes += kept.snapshot->bytes();
  return bytes;
}

// The further back, the fewer: those go first whose neighbours are near, measured by their age.
// The first one stays, as long as there is another choice.
void History::thin_out() {
  const uint64_t now = here().instructions;
  while (bytes() > kBudget && states_.size() > 2) {
    size_t least = 1;
    double least_gap = 0;
    for (size_t i = 1; i + 1 < states_.size(); ++i) {
      if (states_[i].at == here()) continue;
      const uint64_t place = states_[i].at.instructions;
      const uint64_t age = now > place ? now - place : 0;
      const auto gap =
          static_cast<double>(states_[i + 1].at.instructions - states_[i - 1].at.instructions) /
          static_cast<double>(age + kInterval);
      if (least_gap != 0 && gap >= least_gap) continue;
      least = i;
      least_gap = gap;
    }
    states_.erase(states_.begin() + static_cast<std::ptrdiff_t>(least));
  }
  if (bytes() > kBudget && states_.size() == 2) states_.erase(states_.begin());
}

}  // namespace nestor::emu
