// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of `run` that choose what of the events is in the trace.
#pragma once

#include <string>

#include "emu/events/filter.h"

namespace CLI {
class App;
}

namespace nestor::emu {

class TraceFilterOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing. A complaint, or the empty string and the filter.
  [[nodiscard]] std::string read(const CLI::App& run, EventFilter& filter) const;

 private:
  std::string kinds_, level_, from_, walks_;
};

}  // namespace nestor::emu
