// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of `run` that save the machine, and that begin with a saved one.
#pragma once

#include <optional>
#include <string>

#include "emu/events/moment.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct SaveState {
  std::string file;
  Moment at;
  bool then_stop = false;  // the run ends there
};

// Where a run begins and what is kept of it.
struct StateRun {
  std::optional<std::string> load_state;  // a file, in the place of an image
  std::optional<SaveState> save_state;
};

class StateOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing, once the other options are in their places. A complaint, or the empty
  // string.
  [[nodiscard]] std::string read(const CLI::App& run, StateRun& state) const;

 private:
  std::string read_load(const CLI::App& run, StateRun& state) const;
  std::string read_save(const CLI::App& run, StateRun& state) const;

  std::string load_, save_, at_;
  bool then_stop_ = false;
};

}  // namespace nestor::emu
