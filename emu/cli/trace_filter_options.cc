// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/trace_filter_options.h"

#include <CLI/CLI.hpp>

namespace nestor::emu {
namespace {

constexpr const char *kKinds = "--trace-events", *kLevel = "--trace-level", *kFrom = "--trace-from",
                     *kWalks = "--trace-walks";

}  // namespace

void TraceFilterOptions::add_to(CLI::App& run) {
  run.add_option(kKinds, kinds_,
                 "Only these kinds of events, as vm-entry,vm-exit; or all but one, as -walk; all, "
                 "none [all]")
      ->type_name("KIND,...");
  run.add_option(kLevel, level_, "Only what happens while L1, or while L2 runs")
      ->type_name("L1|L2");
  run.add_option(kFrom, from_,
                 "Only from here on: N instructions, the N-th VM exit, or TEXT in what the guest "
                 "writes")
      ->type_name("N|exit:N|mark:TEXT");
  run.add_option(kWalks, walks_,
                 "Page walks in the trace: those through EPT, or all, L1's own and those of shadow "
                 "page tables among them [ept]")
      ->type_name("ept|all");
}

std::string TraceFilterOptions::read(const CLI::App& run, EventFilter& filter) const {
  const auto complaint = [](const char* option, const std::string& what) {
    return std::string(option) + ": " + what;
  };
  for (const char* option : {kKinds, kLevel, kFrom, kWalks}) {
    if (run.count(option) != 0 && run.count("--trace") == 0)
      return std::string(option) + " has no effect without --trace FILE";
  }
  if (run.count(kKinds) != 0) {
    const auto kinds = parse_event_kinds(kinds_);
    if (const auto* bad = std::get_if<std::string>(&kinds)) return complaint(kKinds, *bad);
    filter.kinds = std::get<EventKinds>(kinds);
  }
  if (run.count(kLevel) != 0) {
    if (level_ != "L1" && level_ != "L2")
      return complaint(kLevel, "'" + level_ + "' is neither L1 nor L2");
    filter.level = level_ == "L1" ? 1 : 2;
  }
  if (run.count(kFrom) != 0) {
    auto from = parse_moment(from_);
    if (const auto* bad = std::get_if<std::string>(&from)) return complaint(kFrom, *bad);
    filter.from = std::get<Moment>(std::move(from));
  }
  if (run.count(kWalks) != 0) {
    if (walks_ != "ept" && walks_ != "all")
      return complaint(kWalks, "'" + walks_ + "' is neither ept nor all");
    filter.all_walks = walks_ == "all";
  }
  return {};
}

}  // namespace nestor::emu
