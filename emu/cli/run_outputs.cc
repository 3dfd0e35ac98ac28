// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/run_outputs.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "emu/cli/complain.h"
#include "emu/cli/user_network.h"
#include "emu/observe/compare/l0_report.h"
#include "emu/observe/stopped/places.h"
#include "emu/observe/trace/timing_report.h"
#include "vmx/capabilities.h"

namespace nestor::emu {
namespace {

std::optional<std::string> serial_path(const std::string& serial) {
  if (serial == "none") return std::nullopt;
  return serial == "stdio" ? "-" : serial;
}

bool somebody_watches(const std::string& serial) {
  return serial == "stdio" && ::isatty(STDOUT_FILENO) != 0;
}

}  // namespace

void SerialOutput::put(uint8_t byte) {
  if (!file_) return;
  progress_.clear();
  const char character = static_cast<char>(byte);
  file_->write({&character, 1});
  if (immediate_ || character == '\n') file_->flush();
  in_a_line_ = immediate_ && character != '\n';
}

std::variant<RunInputs, std::string> RunInputs::open(const RunOptions& options) {
  RunInputs inputs;
  struct Wanted {
    std::unique_ptr<InputFile>& file;
    std::string option, path;
  };
  std::vector<Wanted> wanted;
  if (options.serial_input)
    wanted.push_back({inputs.serial, "--serial-input", *options.serial_input});
  if (options.keyboard != "stdio" && options.keyboard != "none")
    wanted.push_back({inputs.keyboard, "--keyboard", options.keyboard});
  for (Wanted& input : wanted) {
    auto opened = InputFile::open(input.option, input.path);
    if (auto* bad = std::get_if<std::string>(&opened)) return std::move(*bad);
    input.file = std::get<std::unique_ptr<InputFile>>(std::move(opened));
  }
  return inputs;
}

std::variant<std::unique_ptr<RunOutputs>, std::string> RunOutputs::open(
    const RunOptions& options, RunInputs inputs, std::unique_ptr<profile::Profiler> profiler) {
  Files files;
  std::vector<std::pair<std::unique_ptr<OutputFile>*, std::optional<std::string>>> wanted = {
      {&files.serial, serial_path(options.serial)},
      {&files.trace, options.trace},
      {&files.dump, options.dump_vmcs},
      {&files.profile, options.profile},
      {&files.report, options.report}};
  for (size_t i = 0; i < files.further_serial.size(); ++i)
    wanted.emplace_back(&files.further_serial[i], serial_path(options.further_serial[i]));
  if (options.virtio_console)
    wanted.emplace_back(&files.virtio_console, serial_path(*options.virtio_console));
  if (options.debug_console)
    wanted.emplace_back(&files.debug_console, serial_path(*options.debug_console));
  if (options.firmware_log)
    wanted.emplace_back(&files.firmware_log, serial_path(*options.firmware_log));
  for (const auto& [file, path] : wanted) {
    if (!path) continue;
    auto opened = OutputFile::open(*path);
    if (auto* bad = std::get_if<std::string>(&opened)) return std::move(*bad);
    *file = std::get<std::unique_ptr<OutputFile>>(std::move(opened));
  }
  if (options.network) {
    auto opened = open_user_network(*options.network);
    if (auto* bad = std::get_if<std::string>(&opened)) return std::move(*bad);
    files.network = std::get<std::unique_ptr<NetworkPort>>(std::move(opened));
  }
  if (options.screen) {
    auto opened = ScreenOutput::open(*options.screen);
    if (auto* bad = std::get_if<std::string>(&opened)) return std::move(*bad);
    files.screen = std::get<std::unique_ptr<ScreenOutput>>(std::move(opened));
  }
  std::unique_ptr<StateOutput> state;
  if (options.save_state) {
    auto opened = StateOutput::open(options.save_state->file);
    if (auto* bad = std::get_if<std::string>(&opened)) return std::move(*bad);
    state = std::get<std::unique_ptr<StateOutput>>(std::move(opened));
  }
  return std::unique_ptr<RunOutputs>(new RunOutputs(options, std::move(files), std::move(state),
                                                    std::move(inputs), std::move(profiler)));
}

RunOutputs::RunOutputs(const RunOptions& options, Files files, std::unique_ptr<StateOutput> state,
                       RunInputs inputs, std::unique_ptr<profile::Profiler> profiler)
    : options_(options),
      progress_(options.machine.max_instructions),
      serial_(std::move(files.serial), somebody_watches(options.serial), progress_),
      virtio_console_(std::move(files.virtio_console),
                      somebody_watches(options.virtio_console.value_or("none")), progress_),
      debug_console_(std::move(files.debug_console),
                     somebody_watches(options.debug_console.value_or("none")), progress_),
      firmware_log_(std::move(files.firmware_log),
                    somebody_watches(options.firmware_log.value_or("none")), progress_),
      inputs_(std::move(inputs)),
      network_(std::move(files.network)),
      trace_file_(std::move(files.trace)),
      dump_file_(std::move(files.dump)),
      profiler_(std::move(profiler)),
      profile_file_(std::move(files.profile)),
      screen_(std::move(files.screen)),
      report_file_(std::move(files.report)) {
  for (size_t i = 0; i < files.further_serial.size(); ++i) {
    further_serial_.emplace_back(std::move(files.further_serial[i]),
                                 somebody_watches(options.further_serial[i]), progress_);
  }
  if (trace_file_) {
    trace_ = create_trace(*trace_file_, options.trace_format);
    MachineEventSink& filter = filter_.emplace(options.trace_filter, *trace_);
    sinks_.add(options.trace_vmcs ? vmcs_changes_.emplace(filter) : filter);
  }
  if (options.stats) sinks_.add(statistics_);
  if (report_file_) sinks_.add(report_.emplace());
  if (dump_file_) {
    sinks_.add(dump_.emplace(*dump_file_, options.dump_when, options.dump_format,
                             vmx::capabilities_of(options.machine.processor.type)));
  }
  if (options.log_level != "off") {
    sinks_.add(causes_.emplace([this](const std::string& text) {
      progress_.clear();
      spdlog::warn("{}", text);
    }));
  }
  // Behind the others: the moment itself is in their outputs.
  if (state) sinks_.add(save_point_.emplace(options.save_state->at, std::move(state)));
}

SerialInput RunOutputs::serial_input() {
  if (inputs_.serial) return {[this] { return inputs_.serial->next(); }, false};
  const bool is_free = options_.serial == "stdio" && options_.keyboard != "stdio";
  return is_free ? terminal_input() : SerialInput{};
}

KeyInput RunOutputs::keyboard_input() {
  if (inputs_.keyboard) {
    typed_keys_.emplace([this] { return inputs_.keyboard->next(); });
    return {[this] { return typed_keys_->next(); }, false};
  }
  const SerialInput terminal = options_.keyboard == "stdio" ? terminal_input() : SerialInput{};
  if (!terminal.next) return {};
  typed_keys_.emplace(terminal.next);
  return {[this] { return typed_keys_->next(); }, terminal.live};
}

SerialInput RunOutputs::terminal_input() {
  if (!Keyboard::is_there()) return {};
  const auto at_next_pause = [this](bool& what) {
    return [this, &what] {
      what = true;
      if (machine_ != nullptr) machine_->request_pause();
    };
  };
  keyboard_.emplace(Keyboard::Commands{at_next_pause(show_places_), at_next_pause(show_screen_),
                                       [this] { progress_.clear(); }});
  return {[this] { return keyboard_->next(); }, true};
}

std::vector<const SerialOutput*> RunOutputs::serial_outputs() const {
  std::vector<const SerialOutput*> all = {&serial_, &virtio_console_, &debug_console_,
                                          &firmware_log_};
  for (const SerialOutput& output : further_serial_) all.push_back(&output);
  return all;
}

// Its line would take the place of what the guest has written, or of what is typed.
bool RunOutputs::may_show_progress() const {
  const bool typing = keyboard_ && keyboard_->in_use();
  return options_.log_level != "off" && !typing &&
         std::ranges::none_of(serial_outputs(), &SerialOutput::in_a_line);
}

MachineOutputs RunOutputs::for_machine() {
  const auto put = [this](SerialOutput& output, MomentWatch::Stream stream) {
    return [this, &output, stream](uint8_t byte) {
      output.put(byte);
      if (filter_) filter_->output(stream, byte);
      if (save_point_) save_point_->output(stream, byte);
      if (report_) report_->put(stream, byte);
    };
  };
  MachineOutputs outputs;
  outputs.serial = put(serial_, MomentWatch::Stream::kSerial);
  outputs.console =
      put(options_.debug_console ? debug_console_ : serial_, MomentWatch::Stream::kConsole);
  outputs.serial_input = serial_input();
  outputs.firmware_log = [this](uint8_t byte) { firmware_log_.put(byte); };
  outputs.virtio_console = put(virtio_console_, MomentWatch::Stream::kVirtioConsole);
  if (options_.virtio_console == "stdio") outputs.virtio_console_input = terminal_input();
  outputs.keyboard_input = keyboard_input();
  outputs.network = network_.get();
  for (size_t i = 0; i < further_serial_.size(); ++i) {
    SerialOutput& output = further_serial_[i];
    if (output.is_connected())
      outputs.further_serial[i] = [&output](uint8_t byte) { output.put(byte); };
  }
  if (options_.realtime) {
    outputs.idle = [this](uint64_t now, uint64_t until) {
      real_time_.wait(now, until, keyboard_ && keyboard_->in_use());
    };
  }
  outputs.events = sinks_.empty() ? nullptr : &sinks_;
  outputs.profiler = profiler_.get();
  outputs.output_failed = [this] { return failed(); };
  outputs.progress = [this](uint64_t instructions) {
    if (may_show_progress()) progress_.update(instructions);
  };
  return outputs;
}

void RunOutputs::begin(Machine& machine) {
  machine_ = &machine;
  if (save_point_) save_point_->watch(machine);
}

bool RunOutputs::at_pause() {
  bool goes_on = true;
  if (save_point_ && save_point_->save_if_due(options_.machine)) {
    goes_on = !options_.save_state->then_stop;
    progress_.clear();
    if (!save_point_->error() && options_.log_level != "off") {
      tell(fmt::format("nestor: saved to '{}' after {} instructions and {} VM exits{}\n",
                       save_point_->path(), machine_->instructions(),
                       machine_->inspection()->exits(), goes_on ? "" : "; the run ends here"));
    }
  }
  if (std::exchange(show_places_, false) && machine_->inspection() != nullptr) {
    progress_.clear();
    tell(describe_places(*machine_->inspection()));
  }
  if (std::exchange(show_screen_, false)) show_screen();
  return goes_on;
}

void RunOutputs::show_screen() {
  progress_.clear();
  const Screen& screen = machine_->screen();
  tell(screen_ && screen_->is_file() ? fmt::format("nestor: {}\n", screen_->write_now(screen))
                                     : describe_screen(screen));
}

void RunOutputs::end() {
  machine_ = nullptr;
  keyboard_.reset();
}

std::optional<RunResult> RunOutputs::run(Machine& machine) {
  begin(machine);
  bool goes_on = true;
  do {
    goes_on = at_pause();
  } while (goes_on && machine.run_until(save_point_ ? save_point_->until() : Until{}));
  end();
  return goes_on ? std::optional(machine.result()) : std::nullopt;
}

bool RunOutputs::failed() const {
  return (trace_ && trace_->failed()) || (dump_ && dump_->failed()) ||
         std::ranges::any_of(serial_outputs(),
                             [](const auto* output) { return output->error().has_value(); });
}

void RunOutputs::take_statistics(const Machine& machine) {
  if (!options_.stats) return;
  statistics_report_ = statistics_.report();
  if (const auto counts = machine.timing_counts()) {
    if (!statistics_.exits().empty()) statistics_report_ += statistics_.report_times();
    statistics_report_ += report_timing(statistics_.levels(), *counts);
  }
  if (info_of(options_.machine.l0.mode).has_l0) {
    statistics_report_ += report_l0(options_.machine.l0, machine.l0_counters());
  }
}

const std::string& RunOutputs::beginning() const {
  return options_.load_state ? *options_.load_state
         : options_.firmware ? *options_.firmware
                             : options_.image;
}

void RunOutputs::take_profile() {
  if (!profile_file_) return;
  const profile::CallTree& tree = profiler_->tree();
  write_profile(tree, options_.profile_format, beginning(), *profile_file_);
  if (!tree.is_complete())
    spdlog::warn("--profile: there are too many functions; what was left counts for their callers");
}

uint64_t RunOutputs::take_report(const RunVerdict& verdict) {
  if (!report_) return 0;
  report_->finish(verdict);
  const std::string suite = std::filesystem::path(beginning()).stem();
  report_file_->write(write_report(*report_, options_.report_format, suite));
  return report_->count(TestOutcome::kFailed);
}

void RunOutputs::take_screen(const Machine& machine) {
  if (screen_) screen_->take(machine.screen());
}

void RunOutputs::finish() {
  serial_.close();
  virtio_console_.close();
  debug_console_.close();
  firmware_log_.close();
  for (SerialOutput& output : further_serial_) output.close();
  if (screen_) screen_->finish();
  if (filter_ && !filter_->started()) {
    spdlog::warn("the run ended before the moment of --trace-from; the trace is empty");
  }
  if (trace_) trace_->finish();
  if (trace_file_) trace_file_->close();
  if (dump_file_) dump_file_->close();
  if (profile_file_) profile_file_->close();
  if (report_file_) report_file_->close();
  tell(statistics_report_);
}

std::vector<std::string> RunOutputs::errors() const {
  std::vector<std::string> errors;
  std::vector all = {trace_file_ ? trace_file_->error() : std::nullopt,
                     dump_file_ ? dump_file_->error() : std::nullopt,
                     profile_file_ ? profile_file_->error() : std::nullopt,
                     report_file_ ? report_file_->error() : std::nullopt};
  for (const SerialOutput* output : serial_outputs()) all.push_back(output->error());
  for (const auto& error : all) {
    if (error) errors.push_back(*error + "; the run's output is incomplete");
  }
  if (screen_ && screen_->error()) errors.push_back(*screen_->error());
  if (save_point_ && save_point_->error()) errors.push_back(*save_point_->error());
  return errors;
}

void RunOutputs::disk_failed(const std::string& what) {
  if (disk_failure_) return;
  disk_failure_ = what;
  progress_.clear();
  spdlog::warn("{}; the guest gets an I/O error", what);
}

std::optional<std::string> RunOutputs::unsaved() const {
  return save_point_ ? save_point_->unsaved() : std::nullopt;
}

}  // namespace nestor::emu
