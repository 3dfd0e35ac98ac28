// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/output_options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>

#include "emu/cli/options.h"

namespace nestor::emu {
namespace {

// Of COM2 and on.
std::string further_serial_option(size_t index) { return fmt::format("--serial{}", index + 2); }

std::string check_dump(const std::vector<std::string>& dump) {
  if (dump[0] != "on-failure" && dump[0] != "on-exit")
    return fmt::format("--dump-vmcs: '{}' is neither on-failure nor on-exit", dump[0]);
  return dump[1].empty() ? "--dump-vmcs: the name of the file is empty" : "";
}

// At most one output is the standard output; the screen may follow what COM1 has written.
std::string check_standard_output(const RunOptions& options) {
  std::vector<std::string> users;
  if (options.gdb && options.gdb->kind == GdbAddress::Kind::kStdio)
    users.emplace_back("--gdb stdio");
  if (options.trace == "-") users.emplace_back("--trace -");
  if (options.dump_vmcs == "-") users.emplace_back("--dump-vmcs -");
  if (options.profile == "-") users.emplace_back("--profile -");
  if (options.report == "-") users.emplace_back("--report -");
  if (options.screen == "-" && !users.empty()) {
    return fmt::format("--screen and {} both write to the standard output; give --screen=FILE",
                       users.front());
  }
  const size_t first_serial = users.size();
  if (options.serial == "stdio") users.emplace_back("--serial stdio");
  for (size_t i = 0; i < options.further_serial.size(); ++i) {
    if (options.further_serial[i] == "stdio")
      users.push_back(fmt::format("{} stdio", further_serial_option(i)));
  }
  if (options.virtio_console == "stdio") users.emplace_back("--virtio-console stdio");
  if (options.debug_console == "stdio") users.emplace_back("--debug-console stdio");
  if (options.firmware_log == "stdio") users.emplace_back("--firmware-log stdio");
  if (users.size() < 2) return {};
  const std::string& second = users[1];
  return fmt::format("{} and {} both write to the standard output; give {}", users[0], second,
                     first_serial > 1 ? "one of them a file"
                                      : second.substr(0, second.find(' ')) + " FILE or none");
}

}  // namespace

void OutputOptions::add_to(CLI::App& run) {
  run.add_option("--serial", serial_, "Where COM1 writes: stdio, none or a file")
      ->type_name("stdio|FILE|none")
      ->capture_default_str();
  for (size_t i = 0; i < further_serial_.size(); ++i) {
    run.add_option(further_serial_option(i), further_serial_[i],
                   fmt::format("Where COM{} writes: stdio, none or a file", i + 2))
        ->type_name("stdio|FILE|none")
        ->capture_default_str();
  }
  run.add_option(
         "--virtio-console", virtio_console_,
         "Add a virtio console, Linux's hvc0, that writes there; with stdio the keyboard is "
         "its own, and COM1 writes nowhere unless --serial says so")
      ->type_name("stdio|FILE|none");
  run.add_option("--debug-console", debug_console_,
                 "Where port 0xe9 writes [where COM1 does]: stdio, none or a file")
      ->type_name("stdio|FILE|none");
  run.add_option("--firmware-log", firmware_log_, "Where --firmware writes what it does")
      ->type_name("stdio|FILE|none");
  run.add_option("--serial-input", serial_input_,
                 "What COM1 receives, once the guest listens [the terminal]; - is the standard "
                 "input")
      ->type_name("FILE");
  run.add_option("--keyboard", keyboard_,
                 "Add a PS/2 keyboard with what is typed on it: stdio, the terminal, which COM1 "
                 "does not have then; or a file of what a terminal sends, - for the standard input")
      ->type_name("stdio|FILE|none")
      ->capture_default_str();
  run.add_flag("--realtime", realtime_,
               "While the guest waits its clock runs no faster than the host's");
  run.add_option("--trace", trace_, "Write every event to this file; - is the standard output")
      ->type_name("FILE");
  run.add_option("--trace-format", trace_format_,
                 "Format of the trace [jsonl if FILE ends in .jsonl, else text]; perfetto is for "
                 "ui.perfetto.dev and the like")
      ->type_name("text|jsonl|perfetto");
  run.add_flag("--trace-vmcs", trace_vmcs_,
               "The trace has the VMCS fields that change, too, as vmcs-change events");
  trace_filter_.add_to(run);
  run.add_option(
         "--dump-vmcs", dump_,
         "Write down the VMCS at each failed VM entry, or at each VM exit too, to FILE; - is "
         "the standard output")
      ->type_name("on-failure|on-exit FILE")
      ->expected(2);
  run.add_option("--dump-vmcs-format", dump_format_, "Format of the dumps; nestor audit reads json")
      ->type_name("text|json")
      ->capture_default_str();
  run.add_flag(
      "--screen{-}", screen_,
      "Write the text screen to the standard output at the end, or with --screen=FILE to a "
      "file; with --screen=FILE.png a picture of it");
  run.add_option("--report", report_,
                 "Write the tests that the guest reports to this file, as JUnit (FILE.xml) or TAP "
                 "(FILE.tap); - is the standard output")
      ->type_name("FILE");
  run.add_option("--report-format", report_format_, "Format of the report [by the file's name]")
      ->type_name("junit|tap");
  run.add_flag("--stats", stats_, "Print VM exits by reason on the standard error at the end");
}

std::string OutputOptions::read(const CLI::App& run, RunOptions& options) const {
  if (std::string bad = read_trace(run, options); !bad.empty()) return bad;
  if (std::string bad = read_dump(run, options); !bad.empty()) return bad;
  if (run.count("--virtio-console") != 0) {
    if (virtio_console_.empty()) return "--virtio-console: the name of the file is empty";
    options.virtio_console = virtio_console_;
    options.machine.virtio_console = true;
  }
  if (run.count("--debug-console") != 0) {
    if (debug_console_.empty()) return "--debug-console: the name of the file is empty";
    options.debug_console = debug_console_;
  }
  if (run.count("--firmware-log") != 0) {
    if (!options.firmware && !options.load_state)
      return "--firmware-log has no effect without firmware: an IMAGE is given";
    if (firmware_log_.empty()) return "--firmware-log: the name of the file is empty";
    options.firmware_log = firmware_log_;
  }
  if (serial_.empty()) return "--serial: the name of the file is empty";
  const bool gdb_is_there = options.gdb && options.gdb->kind == GdbAddress::Kind::kStdio;
  const bool terminal_is_taken = options.virtio_console == "stdio" || gdb_is_there;
  options.serial = terminal_is_taken && run.count("--serial") == 0 ? "none" : serial_;
  for (size_t i = 0; i < further_serial_.size(); ++i) {
    if (further_serial_[i].empty())
      return further_serial_option(i) + ": the name of the file is empty";
  }
  options.further_serial = further_serial_;
  if (run.count("--serial-input") != 0) {
    if (serial_input_.empty()) return "--serial-input: the name of the file is empty";
    options.serial_input = serial_input_;
  }
  if (std::string bad = read_keyboard(run, options); !bad.empty()) return bad;
  options.realtime = realtime_;
  if (run.count("--screen") != 0) {
    if (screen_.empty()) return "--screen: the name of the file is empty";
    // What a loaded machine has is not known yet.
    if (screen_.ends_with(".png") && !options.machine.standard_vga && !options.load_state) {
      return "--screen: a text screen has no picture; name a file without .png, or give --vga std";
    }
    options.screen = screen_;
  }
  options.stats = stats_;
  if (std::string bad = read_report(run, options); !bad.empty()) return bad;
  return check_standard_output(options);
}

std::string OutputOptions::read_trace(const CLI::App& run, RunOptions& options) const {
  if (run.count("--trace") != 0) {
    if (trace_.empty()) return "--trace: the name of the file is empty";
    options.trace = trace_;
  } else if (run.count("--trace-format") != 0) {
    return "--trace-format has no effect without --trace FILE";
  } else if (run.count("--trace-vmcs") != 0) {
    return "--trace-vmcs has no effect without --trace FILE";
  }
  options.trace_vmcs = trace_vmcs_;
  if (std::string bad = trace_filter_.read(run, options.trace_filter); !bad.empty()) return bad;
  constexpr std::array<std::string_view, 3> kFormats = {"text", "jsonl", "perfetto"};
  const bool by_name = run.count("--trace-format") == 0 && trace_.ends_with(".jsonl");
  const auto format =
      by_name ? std::ranges::find(kFormats, "jsonl") : std::ranges::find(kFormats, trace_format_);
  if (format == kFormats.end())
    return fmt::format("--trace-format: '{}' is none of text, jsonl and perfetto", trace_format_);
  options.trace_format = static_cast<TraceFormat>(format - kFormats.begin());
  return {};
}

std::string OutputOptions::read_keyboard(const CLI::App& run, RunOptions& options) const {
  if (run.count("--keyboard") == 0) return {};
  if (keyboard_.empty()) return "--keyboard: the name of the file is empty";
  if (keyboard_ == "stdio" && options.virtio_console == "stdio")
    return "--keyboard stdio and --virtio-console stdio both read the terminal; give one a file";
  const bool gdb_is_there = options.gdb && options.gdb->kind == GdbAddress::Kind::kStdio;
  if (keyboard_ == "stdio" && gdb_is_there)
    return "--keyboard stdio and --gdb stdio both read the terminal; give one a file or a port";
  options.keyboard = keyboard_;
  options.machine.keyboard = keyboard_ != "none";
  return {};
}

std::string OutputOptions::read_report(const CLI::App& run, RunOptions& options) const {
  if (run.count("--report") == 0) {
    return run.count("--report-format") == 0
               ? ""
               : "--report-format has no effect without --report FILE";
  }
  if (report_.empty()) return "--report: the name of the file is empty";
  const bool by_name = run.count("--report-format") == 0;
  if (!by_name && report_format_ != "junit" && report_format_ != "tap")
    return fmt::format("--report-format: '{}' is neither junit nor tap", report_format_);
  if (by_name && !report_.ends_with(".xml") && !report_.ends_with(".tap")) {
    return fmt::format(
        "--report: '{}' ends in neither .xml nor .tap; give --report-format junit or tap", report_);
  }
  options.report = report_;
  const bool tap = by_name ? report_.ends_with(".tap") : report_format_ == "tap";
  options.report_format = tap ? ReportFormat::kTap : ReportFormat::kJunit;
  return {};
}

std::string OutputOptions::read_dump(const CLI::App& run, RunOptions& options) const {
  if (run.count("--dump-vmcs") != 0) {
    if (std::string bad = check_dump(dump_); !bad.empty()) return bad;
    options.dump_vmcs = dump_[1];
    options.dump_when = dump_[0] == "on-exit" ? VmcsDump::When::kExit : VmcsDump::When::kFailure;
  } else if (run.count("--dump-vmcs-format") != 0) {
    return "--dump-vmcs-format has no effect without --dump-vmcs WHEN FILE";
  }
  if (dump_format_ != "text" && dump_format_ != "json") {
    return fmt::format("--dump-vmcs-format: '{}' is neither text nor json", dump_format_);
  }
  options.dump_format = dump_format_ == "json" ? VmcsDump::Format::kJson : VmcsDump::Format::kText;
  return {};
}

}  // namespace nestor::emu
