// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/stats_command.h"

#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <memory>
#include <variant>

#include "emu/cli/complain.h"
#include "emu/observe/trace/trace_reader.h"
#include "emu/observe/trace/trace_statistics.h"

namespace nestor::emu {

int stats_command(const StatsOptions& options) {
  const auto opened = TraceReader::open(options.trace);
  if (const auto* bad = std::get_if<std::string>(&opened))
    return complain(ExitStatus::kBadImage, *bad);
  TraceReader& trace = *std::get<std::unique_ptr<TraceReader>>(opened);
  TraceStatistics statistics;
  std::string bad;
  bool any = false;
  for (TraceEvent event; bad.empty() && trace.next(event);) {
    if (statistics.add(event)) {
      any = true;
    } else {
      bad = fmt::format(
          "{}:{}: no processor, exit reason or number of instructions of a machine; give a "
          "trace that nestor run --trace wrote",
          trace.path(), event.line);
    }
  }
  if (trace.error()) bad = *trace.error();
  if (bad.empty() && !any) bad = fmt::format("{}: the trace is empty", trace.path());
  // What comes before the mistake is worth something, too.
  if (any) {
    const std::string report = statistics.report();
    if (std::fputs(report.c_str(), stdout) == EOF || std::fflush(stdout) != 0)
      return complain(ExitStatus::kOutputError, "cannot write the standard output");
  }
  return bad.empty() ? static_cast<int>(ExitStatus::kSuccess)
                     : complain(ExitStatus::kBadImage, bad);
}

}  // namespace nestor::emu
