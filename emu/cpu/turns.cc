// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/turns.h"

namespace nestor::emu {

void Turns::poll(uint64_t cycles, uint64_t instructions) {
  // Counted in calls as well, should the guest make no progress.
  constexpr uint64_t kReportCycles = 50'000'000, kReportPolls = 1 << 18;
  if (cycles >= next_report_ || ++polls_ % kReportPolls == 0) {
    next_report_ = cycles + kReportCycles;
    if (progress) progress(instructions);
    if (output_failed && output_failed()) finish({RunEnd::Kind::kOutputError});
  }
  if (max_instructions != 0 && instructions >= max_instructions) {
    finish({RunEnd::Kind::kBudgetSpent});
  }
}

}  // namespace nestor::emu
