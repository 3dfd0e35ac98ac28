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

// Of exits that no VM entry has followed nothing is known.
std::string known(const Statistics::Samples& samples, uint64_t cycles) {
  return samples.handled == 0 ? "-" : fmt::format("{}", cycles);
}

std::string average(const Statistics::Samples& samples) {
  return samples.handled == 0 ? "-"
                              : fmt::format("{:.2f}", static_cast<double>(samples.cycles) /
                                                          static_cast<double>(samples.handled));
}

constexpr std::string_view kHeader = "VM-EXIT";

}  // namespace

void Statistics::attach(const Clock& clock, const uint64_t& instructions) {
  clock_ = &clock;
  instructions_ = &instructions;
}

Statistics::Amount Statistics::machine() const {
  if (clock_ == nullptr) return {};
  return {clock_->cycles(), instructions_ == nullptr ? 0 : *instructions_};
}

std::vector<Statistics::Amount> Statistics::shares() const {
  std::vector<Amount> shares = shares_;
  const Amount now = machine();
  const uint64_t cycles = now.cycles - settled_.cycles;
  shares[processor_].instructions += now.instructions - settled_.instructions;
  if (all_wait_) {
    for (Amount& share : shares) share.cycles += cycles;
  } else {
    shares[processor_].cycles += cycles;
  }
  return shares;
}

void Statistics::settle() {
  shares_ = shares();
  settled_ = machine();
}

void Statistics::processor(unsigned number) {
  settle();
  if (shares_.size() <= number) shares_.resize(number + 1);
  processor_ = number;
  all_wait_ = false;
}

void Statistics::all_wait() {
  settle();
  all_wait_ = true;
}

void Statistics::change_level(bool in_l2) {
  Level& level = level_[processor_];
  const Amount now = shares_[processor_];
  levels_[level.in_l2].cycles += now.cycles - level.since.cycles;
  levels_[level.in_l2].instructions += now.instructions - level.since.instructions;
  level = {in_l2, now};
}

std::array<Statistics::Amount, 2> Statistics::levels() const {
  std::array<Amount, 2> levels = levels_;
  const std::vector<Amount> all = shares();
  for (unsigned i = 0; i < all.size(); ++i) {
    const auto found = level_.find(i);
    const Level level = found != level_.end() ? found->second : Level{};
    levels[level.in_l2].cycles += all[i].cycles - level.since.cycles;
    levels[level.in_l2].instructions += all[i].instructions - level.since.instructions;
  }
  return levels;
}

void Statistics::handle(const vmx::VmExitEvent& event, uint64_t times) {
  exits_[event.reason].count += times;
  if (clock_ == nullptr) return;
  settle();
  change_level(false);
  pending_[processor_] = {event.reason, shares_[processor_]};
}

void Statistics::handle(const vmx::VmEntryEvent&, uint64_t times) {
  entries_ += times;
  if (clock_ != nullptr) {
    settle();
    change_level(true);
  }
  const auto pending = pending_.find(processor_);
  if (pending == pending_.end()) return;
  settle();
  Samples& samples = exits_[pending->second.reason];
  const Amount now = shares_[processor_], then = pending->second.at;
  const uint64_t cycles = now.cycles - then.cycles;
  samples.min_cycles = samples.handled == 0 ? cycles : std::min(samples.min_cycles, cycles);
  samples.max_cycles = std::max(samples.max_cycles, cycles);
  samples.cycles += cycles;
  samples.instructions += now.instructions - then.instructions;
  ++samples.handled;
  pending_.erase(pending);
}

void Statistics::handle(const vmx::CheckFailure&, uint64_t times) { failed_checks_ += times; }
void Statistics::handle(const ExceptionEvent&, uint64_t times) { exceptions_ += times; }
void Statistics::handle(const InterruptEvent&, uint64_t times) { interrupts_ += times; }
void Statistics::handle(const UnclaimedAccess&, uint64_t times) { unclaimed_ += times; }

void Statistics::translations(const TranslationCounts& counts) {
  if (!translations_) translations_.emplace();
  translations_->hits += counts.hits;
  translations_->misses += counts.misses;
  translations_->stale += counts.stale;
}

void Statistics::resumed(uint64_t /*exits*/, const std::vector<bool>& in_l2) {
  settled_ = machine();
  shares_.assign(in_l2.size(), Amount{});
  for (unsigned i = 0; i < in_l2.size(); ++i) level_[i].in_l2 = in_l2[i];
}

std::string Statistics::report_times() const {
  std::vector<std::pair<std::string_view, const Samples*>> rows;
  size_t width = kHeader.size();
  uint64_t total = 0;
  for (const auto& [reason, samples] : exits_) {
    rows.emplace_back(vmx::exit_reason_name(reason), &samples);
    width = std::max(width, rows.back().first.size());
    total += samples.cycles;
  }
  std::ranges::stable_sort(rows, std::ranges::greater{},
                           [](const auto& row) { return row.second->cycles; });
  std::string out =
      fmt::format("{:>{}} {:>10} {:>9} {:>12} {:>14} {:>12} {:>14}\n", kHeader, width, "Samples",
                  "Time%", "Min cycles", "Avg cycles", "Max cycles", "Total cycles");
  for (const auto& [name, samples] : rows) {
    out += fmt::format("{:>{}} {:>10} {:>8.2f}% {:>12} {:>14} {:>12} {:>14}\n", name, width,
                       samples->count, percent(samples->cycles, total),
                       known(*samples, samples->min_cycles), average(*samples),
                       known(*samples, samples->max_cycles), samples->cycles);
  }
  return out;
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
  const auto instruction_share = [&](uint64_t part, uint64_t whole) {
    return counts_instructions() ? fmt::format("{:.2f}%", percent(part, whole)) : "-";
  };

  std::string out = fmt::format("{:>{}} {:>10} {:>9} {:>9} {:>9} {:>12} {:>12} {:>14}\n", kHeader,
                                width, "Samples", "Samples%", "Instr%", "Time%", "Min cycles",
                                "Max cycles", "Avg cycles");
  for (const Row& row : rows) {
    const Samples& samples = *row.samples;
    out += fmt::format("{:>{}} {:>10} {:>8.2f}% {:>9} {:>8.2f}% {:>12} {:>12} {:>14}\n", row.name,
                       width, samples.count, percent(samples.count, total.count),
                       instruction_share(samples.instructions, total.instructions),
                       percent(samples.cycles, total.cycles), known(samples, samples.min_cycles),
                       known(samples, samples.max_cycles), average(samples));
  }
  Amount all;
  for (const Amount& share : shares()) {
    all.cycles += share.cycles;
    all.instructions += share.instructions;
  }
  out += fmt::format("Total: {} VM exits, {} VM entries, {} failed checks\n", total.count, entries_,
                     failed_checks_);
  out += "From a VM exit to the next VM entry: ";
  if (counts_instructions()) {
    out += fmt::format("{} of {} instructions ({:.2f}%), ", total.instructions, all.instructions,
                       percent(total.instructions, all.instructions));
  }
  out += fmt::format("{} of {} cycles ({:.2f}%)\n", total.cycles, all.cycles,
                     percent(total.cycles, all.cycles));
  out += fmt::format("Delivered: {} exceptions, {} interrupts; unclaimed accesses: {}\n",
                     exceptions_, interrupts_, unclaimed_);
  if (translations_) {
    out += fmt::format("Cached translations: {} hits, {} misses; uses of stale ones: {}\n",
                       translations_->hits, translations_->misses, translations_->stale);
  }
  return out;
}

}  // namespace nestor::emu
