// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/view_command.h"

#include <spdlog/fmt/fmt.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/cli/complain.h"
#include "emu/cli/file_roles.h"
#include "emu/observe/trace/line_reader.h"
#include "emu/observe/view/event_line.h"

namespace nestor::emu {
namespace {

// The next event of a trace. False at the end, and where the trace is malformed, with a complaint.
bool next_event(LineReader& lines, std::string& line, EventLine& event, std::string& bad) {
  if (!lines.next(line)) {
    bad = lines.error().value_or("");
    return false;
  }
  auto read = read_event_line(line);
  if (auto* what = std::get_if<std::string>(&read)) {
    bad = fmt::format("{}:{}: {}", lines.path(), lines.line(),
                      lines.complete() || lines.line() == 1
                          ? *what
                          : "the trace is truncated: its last line has no end");
    return false;
  }
  event = std::get<EventLine>(std::move(read));
  return true;
}

std::string end_of_page(const TracePage& page) {
  return fmt::format(
      "The page has the first {} events; the trace goes on. More of them: "
      "--max-events. Later ones: nestor run --trace-from.",
      page.events());
}

}  // namespace

int view_command(const ViewOptions& options) {
  if (page_template().empty()) {
    return complain(ExitStatus::kUnsupportedHost,
                    "this build has no page: it needs node (18 or newer), npm and its packages; "
                    "run scripts/setup and build again");
  }
  if (const auto shared = shared_file(options)) return complain(ExitStatus::kBadUsage, *shared);
  auto opened = LineReader::open(options.trace);
  if (const auto* bad = std::get_if<std::string>(&opened))
    return complain(ExitStatus::kBadImage, *bad);
  auto& lines = std::get<LineReader>(opened);
  std::string line, bad;
  EventLine event;
  if (!next_event(lines, line, event, bad)) {
    return complain(ExitStatus::kBadImage,
                    bad.empty() ? fmt::format("{}: the trace is empty", lines.path()) : bad);
  }
  auto output = OutputFile::open_whole(options.out);
  if (const auto* error = std::get_if<std::string>(&output))
    return complain(ExitStatus::kOutputError, *error);
  OutputFile& file = *std::get<std::unique_ptr<OutputFile>>(output);
  TracePage page(file, options.limits);
  std::vector<std::string> notes;
  do {
    if (page.full()) {
      notes.push_back(end_of_page(page));
      break;
    }
    page.add(line, event);
  } while (!file.error() && next_event(lines, line, event, bad));
  if (!bad.empty()) notes.push_back("The trace ends early: " + bad);
  const bool is_file = options.trace != "-";
  page.finish(is_file ? std::filesystem::path(options.trace).filename().string() : lines.path(),
              notes);
  file.close();
  if (file.error()) return complain(ExitStatus::kOutputError, *file.error());
  if (!bad.empty()) {
    return complain(ExitStatus::kBadImage,
                    fmt::format("{}; the page has the {} events before", bad, page.events()));
  }
  if (options.out != "-")
    tell(fmt::format("nestor: {}: {} events{}\n", options.out, page.events(),
                     notes.empty() ? "" : ", and the trace goes on"));
  return static_cast<int>(ExitStatus::kSuccess);
}

}  // namespace nestor::emu
