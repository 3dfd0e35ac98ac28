// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cli/image_options.h"
#include "emu/events/moment.h"
#include "emu/machine/inspection.h"

namespace nestor::emu {

struct WalkOptions : ImageRun {
  Moment at;
  uint64_t address = 0;
  std::optional<View> view;  // whose address; none: L2's linear, or L1's while there is no VMCS
  ept::Access access{ept::Access::kRead, false, false};
  bool step = false;  // wait for a line of the standard input before each entry
};

// `nestor walk`: runs an image up to a moment, and prints the page walk of an address then on the
// standard output. Complaints go to the standard error, one line each. Returns the exit status of
// the process.
[[nodiscard]] int walk_command(const WalkOptions& options, const MachineFactory& create);

}  // namespace nestor::emu
