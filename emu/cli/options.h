// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a user asks for on the command line.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/cli/audit_command.h"
#include "emu/cli/compare_mmu_command.h"
#include "emu/cli/debug_options.h"
#include "emu/cli/diff_command.h"
#include "emu/cli/exit_status.h"
#include "emu/cli/image_options.h"
#include "emu/cli/network_options.h"
#include "emu/cli/price_command.h"
#include "emu/cli/profile_options.h"
#include "emu/cli/state_options.h"
#include "emu/cli/stats_command.h"
#include "emu/cli/view_command.h"
#include "emu/cli/walk_command.h"
#include "emu/events/filter.h"
#include "emu/observe/audit/vmcs_dump.h"
#include "emu/observe/report/test_report.h"
#include "emu/observe/trace/record.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct RunOptions : ImageRun, StateRun, DebugRun, ProfileRun, NetworkRun {
  std::string serial = "stdio";                                          // or "none", or a file
  std::array<std::string, 3> further_serial = {"none", "none", "none"};  // COM2 to COM4: the same
  std::optional<std::string> virtio_console;  // where it writes: the same; else there is none
  std::optional<std::string> debug_console;   // where port 0xe9 writes: the same; else as COM1
  std::optional<std::string> firmware_log;    // where firmware writes what it does: the same
  std::string keyboard = "none";              // or "stdio", the terminal, or a file, or "-"
  std::optional<std::string> serial_input;    // a file, or "-"; else the terminal, if there is one
  bool realtime = false;
  std::optional<std::string> trace;
  TraceFormat trace_format = TraceFormat::kText;
  EventFilter trace_filter{};
  bool trace_vmcs = false;
  std::optional<std::string> dump_vmcs;  // a file, or "-"
  VmcsDump::When dump_when = VmcsDump::When::kFailure;
  VmcsDump::Format dump_format = VmcsDump::Format::kText;
  std::optional<std::string> screen;  // a file, or "-"
  bool stats = false;
  std::optional<std::string> report;  // a file, or "-"
  ReportFormat report_format = ReportFormat::kJunit;
  std::string log_level = "warning";
};

// The command line asked for something that is done by printing `text`: help and versions on the
// standard output, complaints (one line) on the standard error.
struct PrintAndExit {
  std::string text;
  ExitStatus status = ExitStatus::kSuccess;
};

// Prints it. Returns what the process returns.
int print_and_exit(const PrintAndExit& print);

// A program whose command line is parsed: nestor, or one that has `run` in common with it.
struct Program {
  std::string name = "nestor";
  std::string run_example =
      "nestor run vmx.flat --memory 1G --module environ --append vmenter --stats";
  std::string help = {};  // where a complaint leads; empty: --help of the command
  // Options of `run` that it lacks, and what it says when one is given.
  struct Missing {
    std::string option, why;
  };
  std::vector<Missing> missing = {};
  std::function<void(CLI::App& run)> add_run_options = {};  // its own; may be empty
};

using CommandLine = std::variant<RunOptions, DiffOptions, StatsOptions, ViewOptions, AuditOptions,
                                 CompareMmuOptions, WalkOptions, PriceOptions, PrintAndExit>;

// `version` is what --version prints.
[[nodiscard]] CommandLine parse_command_line(const std::vector<std::string>& arguments,
                                             const std::string& version,
                                             const Program& program = {});

}  // namespace nestor::emu
