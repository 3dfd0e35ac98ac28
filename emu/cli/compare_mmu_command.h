// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nestor::emu {

struct CompareMmuOptions {
  std::string image;
  std::string append;
  uint64_t memory_bytes = 0;
  uint64_t max_instructions = 0;  // in each mode; 0: no limit
  unsigned cpus = 1;              // 1 to MachineConfig::kMaximumProcessors
  std::vector<std::string> modules;
  std::optional<std::string> json;  // a file, or "-" for the standard output instead of the table
};

// `nestor compare-mmu`: runs an image in every mode of --l0 and prints what each costs. Returns the
// exit status of the process. Complaints go to the standard error, one line each.
[[nodiscard]] int compare_mmu_command(const CompareMmuOptions& options);

}  // namespace nestor::emu
