// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/diff_command.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <variant>

#include "emu/cli/complain.h"
#include "emu/events/kinds.h"

namespace nestor::emu {
namespace {

// `text` may have parts of a trace that somebody else wrote: no byte of it is for the terminal.
int print(std::string text, ExitStatus status) {
  std::ranges::replace_if(
      text, [](char c) { return (c >= 0 && c < ' ' && c != '\n' && c != '\t') || c == 0x7f; }, '?');
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  }
  return static_cast<int>(status);
}

bool is_kind(const std::string& name) {
  return std::ranges::find(event_kinds(), name, &EventKind::name) != event_kinds().end();
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
  // A kind may be absent, but not all of them, and a name that is no kind's is a slip.
  const auto& missing = result.never_seen;
  const auto slip = std::ranges::find_if_not(missing, is_kind);
  if (slip != missing.end() || (!missing.empty() && result.compared == 0)) {
    return complain(ExitStatus::kBadUsage,
                    fmt::format("--only: neither trace has a '{}' event; docs/trace.md lists the "
                                "kinds",
                                slip != missing.end() ? *slip : missing.front()));
  }
  return print(fmt::format("the same: {} events\n", result.compared), ExitStatus::kSuccess);
}

}  // namespace nestor::emu
