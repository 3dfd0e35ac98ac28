// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/turns.h"

#include <algorithm>
#include <string>
#include <utility>

namespace nestor::emu {

void Turns::go_on(Until until) {
  const bool watched = watches_instructions();
  pause_.reset();
  until_ = std::move(until);
  std::ranges::sort(until_.breakpoints);
  if (watched || watches_instructions()) ++watch_generation_;
}

uint64_t Turns::instruction_limit() const {
  const uint64_t budget = max_instructions != 0 ? max_instructions : ~0ull;
  return std::min(budget, until_.instructions.value_or(~0ull));
}

void Turns::poll(unsigned processor, uint64_t cycles, uint64_t instructions) {
  // Counted in calls as well, should the guest make no progress.
  constexpr uint64_t kReportCycles = 10'000'000, kReportPolls = 1 << 14;
  if (cycles >= next_report_ || ++polls_ % kReportPolls == 0) {
    next_report_ = cycles + kReportCycles;
    if (progress) progress(instructions);
    if (output_failed && output_failed()) finish({RunEnd::Kind::kOutputError});
  }
  // Who asked for the stop has it, even if nothing follows.
  if (until_.instructions && instructions >= *until_.instructions) {
    stop({Pause::Reason::kInstructions, processor});
    return;
  }
  if (instructions != std::exchange(completed_, instructions)) exceptions_ = 0;
  if (max_instructions == 0) return;
  const bool stuck = exceptions_ >= max_instructions;
  if (instructions < max_instructions && !stuck) return;
  std::string spent = std::to_string(instructions) + " instructions were executed";
  if (stuck) spent += ", then " + std::to_string(exceptions_) + " exceptions in a row delivered";
  finish({RunEnd::Kind::kBudgetSpent, 0, std::move(spent)});
}

}  // namespace nestor::emu
