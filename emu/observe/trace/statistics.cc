// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/statistics.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

double percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

constexpr std::string_view kHeader = "VM-EXIT";

}  // namespace

void Statistics::attach(const Clock& clock, const uint64_t& instructions) {
  clock_ = &clock;
  instructions_ = &instructions;
}

void Statistics::handle(const vmx::VmExitEvent& event) {
  ++exits_[event.reason].count;
  if (clock_) pending_[processor_] = {event.reason, clock_->cycles(), *instructions_};
}

void Statistics::handle(const vmx::VmEntryEvent&) {
  ++entries_;
  const auto pending = pending_.find(processor_);
  if (pending == pending_.end()) return;
  Samples& samples = exits_[pending->second.reason];
  const uint64_t cycles = clock_->cycles() - pending->second.cycle;
  samples.min_cycles = samples.handled == 0 ? cycles : std::min(samples.min_cycles, cycles);
  samples.max_cycles = std::max(samples.max_cycles, cycles);
  samples.cycles += cycles;
  samples.instructions += *instructions_ - pending->second.instruction;
  ++samples.handled;
  pending_.erase(pending);
}

void Statistics::handle(const vmx::CheckFailure&) { ++failed_checks_; }
void Statistics::handle(const ExceptionEvent&) { ++exceptions_; }
void Statistics::handle(const InterruptEvent&) { ++interrupts_; }
void Statistics::handle(const UnclaimedAccess&) { ++unclaimed_; }

void Statistics::translations(const TranslationCounts& counts) {
  if (!translations_) translations_.emplace();
  translations_->hits += counts.hits;
  translations_->misses += counts.misses;
  translations_->stale += counts.stale;
}

void Statistics::resumed(uint64_t /*exits*/, const std::vector<bool>& /*in_l2*/) {
  first_cycle_ = clock_->cycles();
  first_instruction_ = *instructions_;
}

std::string Statistics::report() const {
  struct Row {
    std::string_view name;
    const Samples* samples;
  };
  std::vector<Row> rows;
  Samples total;
  size_t width = kHeader.size();
  for (const auto& [reason, samples] : exits_) {
    rows.push_back({vmx::exit_reason_name(reason), &samples});
    width = std::max(width, rows.back().name.size());
    total.count += samples.count;
    total.cycles += samples.cycles;
    total.instructions += samples.instructions;
  }
  std::ranges::stable_sort(rows, std::ranges::greater{},
                           [](const Row& row) { return row.samples->count; });

  std::string out = fmt::format("{:>{}} {:>10} {:>9} {:>9} {:>9} {:>12} {:>12} {:>14}\n", kHeader,
                                width, "Samples", "Samples%", "Instr%", "Time%", "Min cycles",
                                "Max cycles", "Avg cycles");
  for (const Row& row : rows) {
    const Samples& samples = *row.samples;
    const double average = samples.handled == 0 ? 0.0
                                                : static_cast<double>(samples.cycles) /
                                                      static_cast<double>(samples.handled);
    out += fmt::format("{:>{}} {:>10} {:>8.2f}% {:>8.2f}% {:>8.2f}% {:>12} {:>12} {:>14.2f}\n",
                       row.name, width, samples.count, percent(samples.count, total.count),
                       percent(samples.instructions, total.instructions),
                       percent(samples.cycles, total.cycles), samples.min_cycles,
                       samples.max_cycles, average);
  }
  const uint64_t cycles = clock_ ? clock_->cycles() - first_cycle_ : 0;
  const uint64_t instructions = instructions_ ? *instructions_ - first_instruction_ : 0;
  out += fmt::format("Total: {} VM exits, {} VM entries, {} failed checks\n", total.count, entries_,
                     failed_checks_);
  out += fmt::format(
      "From a VM exit to the next VM entry: {} of {} instructions ({:.2f}%), {} of {} cycles "
      "({:.2f}%)\n",
      total.instructions, instructions, percent(total.instructions, instructions), total.cycles,
      cycles, percent(total.cycles, cycles));
  out += fmt::format("Delivered: {} exceptions, {} interrupts; unclaimed accesses: {}\n",
                     exceptions_, interrupts_, unclaimed_);
  if (translations_) {
    out += fmt::format("Cached translations: {} hits, {} misses; uses of stale ones: {}\n",
                       translations_->hits, translations_->misses, translations_->stale);
  }
  return out;
}

}  // namespace nestor::emu
