// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/exit_status.h"

#include <spdlog/fmt/fmt.h>

namespace nestor::emu {

std::string exit_status_help() {
  std::string text = "Exit status:\n";
  text += "  odd  (value << 1) | 1, of the value that L1 wrote to port 0xf4\n";
  for (const ExitStatusEntry& entry : kExitStatusTable) {
    text += fmt::format("  {:>3}  {}\n", static_cast<int>(entry.status), entry.meaning);
  }
  return text;
}

}  // namespace nestor::emu
