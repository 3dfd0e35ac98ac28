// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where two runs of an image part.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/events/events.h"

namespace nestor::emu {

// Lines of two texts, from 1; empty where a text has ended.
struct LineDifference {
  uint64_t line = 0;
  std::string reference, other;
};
// std::nullopt: the texts are the same.
std::optional<LineDifference> first_different_line(std::string_view reference,
                                                   std::string_view other);

// Events as lines of the trace, without a newline; empty where a run has ended.
struct EventDifference {
  std::string before;  // the last that is the same, as the other run has it; empty: there is none
  std::string reference, other;
};
struct Parting {
  std::optional<EventDifference> event;  // std::nullopt: all events are the same
  // The first translation that the other run used before that though its tables no longer held it;
  // empty: there is none.
  std::string stale;
};

// Runs the image anew, with `events` listening. `keeps`: with TlbModel::kKeep.
using Rerun = std::function<void(MachineEventSink& events, bool keeps)>;

// The first difference in what happens to L1 and L2, leaving out what L0 does. Each is run twice.
Parting find_parting(const Rerun& reference, const Rerun& other);

}  // namespace nestor::emu
