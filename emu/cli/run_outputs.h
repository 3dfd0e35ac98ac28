// SPDX-License-Identifier: GPL-2.0-or-later
//
// All that a run writes and reads on its way: its files and the terminal, and what fills them while
// the machine runs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "emu/cli/input_file.h"
#include "emu/cli/keyboard.h"
#include "emu/cli/options.h"
#include "emu/cli/progress.h"
#include "emu/cli/real_time.h"
#include "emu/cli/save_point.h"
#include "emu/cli/screen_output.h"
#include "emu/cli/typed_keys.h"
#include "emu/events/events.h"
#include "emu/events/filter.h"
#include "emu/machine/machine.h"
#include "emu/observe/audit/vmcs_dump.h"
#include "emu/observe/causes/causes.h"
#include "emu/observe/report/test_report.h"
#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/statistics.h"
#include "emu/observe/trace/trace.h"
#include "emu/observe/trace/vmcs_changes.h"

namespace nestor::emu {

// The serial port's output: to a file or the standard output, a line at a time, or at once where
// somebody watches.
class SerialOutput {
 public:
  // `file` may be null: nothing is written.
  SerialOutput(std::unique_ptr<OutputFile> file, bool immediate, Progress& progress)
      : file_(std::move(file)), immediate_(immediate), progress_(progress) {}

  void put(uint8_t byte);
  // Somebody watches, and the last line is not complete.
  bool in_a_line() const { return in_a_line_; }
  bool is_connected() const { return file_ != nullptr; }
  void close() {
    if (file_) file_->close();
  }
  std::optional<std::string> error() const { return file_ ? file_->error() : std::nullopt; }

 private:
  std::unique_ptr<OutputFile> file_;
  const bool immediate_;
  bool in_a_line_ = false;
  Progress& progress_;
};

// Files that are typed from; null: there is none.
struct RunInputs {
  std::unique_ptr<InputFile> serial, keyboard;

  // The error is one sentence.
  [[nodiscard]] static std::variant<RunInputs, std::string> open(const RunOptions& options);
};

class RunOutputs final : public DiskWatcher {
 public:
  // Opens all files. The error is one sentence. `options` outlives the outputs.
  // `profiler` may be null.
  [[nodiscard]] static std::variant<std::unique_ptr<RunOutputs>, std::string> open(
      const RunOptions& options, RunInputs inputs, std::unique_ptr<profile::Profiler> profiler);
  RunOutputs(const RunOutputs&) = delete;
  RunOutputs& operator=(const RunOutputs&) = delete;

  // For a machine that this object outlives. Nothing ends its run but an output that failed.
  MachineOutputs for_machine();
  // Runs that machine to its end, and saves it on the way if that is asked for. std::nullopt: the
  // run was to end there.
  std::optional<RunResult> run(Machine& machine);
  // The same for somebody else who runs it: before the first instruction, whenever it stands still,
  // and at the end. at_pause() returns whether the run goes on.
  void begin(Machine& machine);
  bool at_pause();
  void end();
  bool failed() const;
  Progress& progress() { return progress_; }

  // Once the run has ended: what the machine counted, for --stats.
  void take_statistics(const Machine& machine);
  // The same: writes --profile.
  void take_profile();
  // The same: its screen, for --screen.
  void take_screen(const Machine& machine);
  // The same: the end of --report, and the tests in it that failed.
  uint64_t take_report(const RunVerdict& verdict);
  // Writes what is left, and the statistics on the standard error, and closes the files.
  void finish();
  // What could not be written, a sentence for each file.
  std::vector<std::string> errors() const;
  // A disk that the host could not read or write: what is wrong, the first time.
  const std::optional<std::string>& disk_failure() const { return disk_failure_; }
  void disk_failed(const std::string& what) override;
  // Why there is no saved state where one was asked for: the moment did not come.
  std::optional<std::string> unsaved() const;

 private:
  // A null file: that output is not wanted.
  struct Files {
    std::unique_ptr<OutputFile> serial, trace, dump, profile, report;
    std::unique_ptr<ScreenOutput> screen;
    std::unique_ptr<NetworkPort> network;
    std::array<std::unique_ptr<OutputFile>, 3> further_serial;  // of COM2 to COM4
    std::unique_ptr<OutputFile> virtio_console, debug_console, firmware_log;
  };
  RunOutputs(const RunOptions& options, Files files, std::unique_ptr<StateOutput> state,
             RunInputs inputs, std::unique_ptr<profile::Profiler> profiler);
  SerialInput serial_input();
  SerialInput terminal_input();
  KeyInput keyboard_input();
  bool may_show_progress() const;
  void show_screen();
  // What the run began with.
  const std::string& beginning() const;
  std::vector<const SerialOutput*> serial_outputs() const;

  const RunOptions& options_;
  Progress progress_;
  SerialOutput serial_;
  std::vector<SerialOutput> further_serial_;  // COM2 to COM4
  SerialOutput virtio_console_, debug_console_, firmware_log_;
  const RunInputs inputs_;
  const std::unique_ptr<NetworkPort> network_;
  std::optional<Keyboard> keyboard_;  // the terminal's
  std::optional<TypedKeys> typed_keys_;
  RealTime real_time_;
  Machine* machine_ = nullptr;                      // that runs
  bool show_places_ = false, show_screen_ = false;  // when it has stopped
  const std::unique_ptr<OutputFile> trace_file_;
  std::unique_ptr<TraceWriter> trace_;  // null: not wanted
  std::optional<FilteredEvents> filter_;
  std::optional<VmcsChanges> vmcs_changes_;
  const std::unique_ptr<OutputFile> dump_file_;
  std::optional<VmcsDump> dump_;
  const std::unique_ptr<profile::Profiler> profiler_;
  const std::unique_ptr<OutputFile> profile_file_;
  const std::unique_ptr<ScreenOutput> screen_;  // null: not wanted
  const std::unique_ptr<OutputFile> report_file_;
  std::optional<TestReport> report_;
  std::optional<std::string> disk_failure_;
  std::optional<SavePoint> save_point_;
  std::optional<Causes> causes_;
  Statistics statistics_;
  std::string statistics_report_;
  FanOut sinks_;
};

}  // namespace nestor::emu
