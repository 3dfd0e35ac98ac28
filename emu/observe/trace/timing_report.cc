// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/timing_report.h"

#include <spdlog/fmt/fmt.h>

#include <string_view>

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
  return out;
}

}  // namespace nestor::emu
