// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/timing_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

namespace nestor::emu {
namespace {

double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string report_timing(const std::array<Statistics::Amount, 2>& levels,
                          const timing::Core::LevelsCounts& counts) {
  std::string out = fmt::format("{:>36} {:>16}\n", "L1", "L2");
  const auto row = [&](std::string_view name, const auto& value) {
    out += fmt::format("{:<20}", name);
    for (size_t level = 0; level < levels.size(); ++level)
      out += fmt::format(" {:>15} ", value(levels[level], counts[level]));
    out.back() = '\n';
  };
  using Amount = Statistics::Amount;
  using Counts = timing::Core::LevelCounts;
  row("cycles", [](const Amount& amount, const Counts&) { return amount.cycles; });
  row("instructions", [](const Amount& amount, const Counts&) { return amount.instructions; });
  row("  per cycle", [](const Amount& amount, const Counts&) {
    return fmt::format("{:.2f}", ratio(amount.instructions, amount.cycles));
  });
  row("  without a price", [](const Amount& amount, const Counts& count) {
    return fmt::format("{:.2f} %", 100 * ratio(count.code.default_priced, amount.instructions));
  });
  row("branches", [](const Amount&, const Counts& count) { return count.code.branches; });
  row("  mispredicted", [](const Amount&, const Counts& count) { return count.code.mispredicted; });
  row("  of all branches", [](const Amount&, const Counts& count) {
    return fmt::format("{:.2f} %", 100 * ratio(count.code.mispredicted, count.code.branches));
  });
  row("TLB misses",
      [](const Amount&, const Counts& count) { return count.translations.first_level_misses; });
  row("page walks", [](const Amount&, const Counts& count) { return count.translations.walks; });
  row("  references each", [](const Amount&, const Counts& count) {
    return fmt::format("{:.1f}", ratio(count.translations.references, count.translations.walks));
  });
  row("  cycles", [](const Amount&, const Counts& count) { return count.translations.cycles; });
  row("  of all cycles", [](const Amount& amount, const Counts& count) {
    return fmt::format("{:.2f} %", 100 * ratio(count.translations.cycles, amount.cycles));
  });
  const auto loads = [](const Counts& count) {
    return std::accumulate(count.code.loads.begin(), count.code.loads.end(), uint64_t{0});
  };
  if (std::ranges::none_of(counts, loads)) return out;
  row("loads", [&](const Amount&, const Counts& count) { return loads(count); });
  constexpr std::pair<std::string_view, timing::LoadedFrom> kPlaces[] = {
      {"  from L1 cache", timing::LoadedFrom::kFirst},
      {"  from L2 cache", timing::LoadedFrom::kSecond},
      {"  from L3 cache", timing::LoadedFrom::kThird},
      {"  from memory", timing::LoadedFrom::kMemory},
      {"  from line to come", timing::LoadedFrom::kFillBuffer}};
  for (const auto& [name, place] : kPlaces) {
    row(name, [place = place](const Amount&, const Counts& count) {
      return count.code.loads[static_cast<size_t>(place)];
    });
  }
  row("stores", [](const Amount&, const Counts& count) { return count.code.stores; });
  row("  not in L1 cache",
      [](const Amount&, const Counts& count) { return count.code.store_misses; });
  row("code not in L1 cache",
      [](const Amount&, const Counts& count) { return count.code.code_misses; });
  row("L2 cache requests", [](const Amount&, const Counts& count) { return count.caches.second; });
  row("  missed", [](const Amount&, const Counts& count) { return count.caches.third; });
  row("L3 cache requests", [](const Amount&, const Counts& count) { return count.caches.third; });
  row("  missed", [](const Amount&, const Counts& count) { return count.caches.memory; });
  row("accesses not seen", [&](const Amount&, const Counts& count) {
    const uint64_t unknown = count.code.unknown_accesses;
    return fmt::format("{:.2f} %",
                       100 * ratio(unknown, unknown + loads(count) + count.code.stores));
  });
  return out;
}

}  // namespace nestor::emu
