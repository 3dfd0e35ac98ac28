// SPDX-License-Identifier: GPL-2.0-or-later
//
// The statistics of a run, as far as its trace holds them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "emu/observe/trace/statistics.h"
#include "emu/observe/trace/trace_reader.h"

namespace nestor::emu {

class TraceStatistics {
 public:
  TraceStatistics() { statistics_.attach(clock_); }
  // Events in the order of the trace. False, and nothing is counted: a malformed event, which names
  // no processor that a machine has, no exit reason, or no number of instructions.
  [[nodiscard]] bool add(const TraceEvent& event);
  // Statistics::report(), and what of it is not in the trace. Ends in a newline.
  std::string report() const;

 private:
  void handle(const TraceEvent& event, uint32_t reason);

  Clock clock_;
  std::optional<uint64_t> instructions_;  // none: the trace does not count them
  Statistics statistics_;
  bool several_processors_ = false;
};

}  // namespace nestor::emu
