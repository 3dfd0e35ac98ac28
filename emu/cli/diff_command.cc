// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/diff_command.h"

#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <memory>
#include <variant>

#include "emu/cli/complain.h"

namespace nestor::emu {
namespace {

int print(const std::string& text, ExitStatus status) {
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  }
  return static_cast<int>(status);
}

}  // namespace

int diff_command(const DiffOptions& options) {
  if (options.list_ignored) return print(list_ignored_fields(), ExitStatus::kSuccess);
  if (const auto bad = unknown_ignored(options.rules.ignore))
    return complain(ExitStatus::kBadUsage, "--ignore: " + *bad);
  if (options.left == "-" && options.right == "-")
    return complain(ExitStatus::kBadUsage, "only one of the traces can be the standard input");
  auto left = TraceReader::open(options.left), right = TraceReader::open(options.right);
  for (const auto* opened : {&left, &right}) {
    if (const auto* bad = std::get_if<std::string>(opened))
      return complain(ExitStatus::kBadImage, *bad);
  }
  const DiffResult result =
      compare_traces(*std::get<std::unique_ptr<TraceReader>>(left),
                     *std::get<std::unique_ptr<TraceReader>>(right), options.rules);
  if (result.error) return complain(ExitStatus::kBadImage, *result.error);
  if (result.difference) {
    return print(to_string(*result.difference, options.left, options.right),
                 ExitStatus::kTracesDiffer);
  }
  if (!result.never_seen.empty()) {
    return complain(ExitStatus::kBadUsage,
                    fmt::format("--only: neither trace has a '{}' event; docs/trace.md lists the "
                                "kinds",
                                result.never_seen.front()));
  }
  return print(fmt::format("the same: {} events\n", result.compared), ExitStatus::kSuccess);
}

}  // namespace nestor::emu
