// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/run_command.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "emu/cli/complain.h"
#include "emu/cli/inputs.h"
#include "emu/cli/progress.h"
#include "emu/machine/machine.h"
#include "emu/memory/ram.h"
#include "emu/observe/compare/l0_report.h"
#include "emu/observe/stopped/places.h"
#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/statistics.h"
#include "emu/observe/trace/trace.h"
#include "vmx/capabilities.h"

namespace nestor::emu {
namespace {

volatile std::sig_atomic_t stop_signal = 0;

void remember_signal(int signal) { stop_signal = signal; }

// While it lives, SIGINT and SIGTERM end the run in order, so that buffered output is not lost.
// A second one ends the process at once.
class OrderlyStop {
 public:
  OrderlyStop() {
    stop_signal = 0;
    struct sigaction action {};
    action.sa_handler = remember_signal;
    action.sa_flags = SA_RESETHAND;
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &before_[i]);
  }
  ~OrderlyStop() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  }
  OrderlyStop(const OrderlyStop&) = delete;
  OrderlyStop& operator=(const OrderlyStop&) = delete;
  bool requested() const { return stop_signal != 0; }

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, kSignals.size()> before_{};
};

// The serial port's output: to a file or the standard output, a line at a time, or at once where
// somebody watches.
class SerialOutput {
 public:
  SerialOutput(std::unique_ptr<OutputFile> file, bool immediate, Progress& progress)
      : file_(std::move(file)), immediate_(immediate), progress_(progress) {}

  void put(uint8_t byte) {
    if (!file_) return;
    progress_.clear();
    const char character = static_cast<char>(byte);
    file_->write({&character, 1});
    if (immediate_ || character == '\n') file_->flush();
  }
  void close() {
    if (file_) file_->close();
  }
  std::optional<std::string> error() const { return file_ ? file_->error() : std::nullopt; }

 private:
  std::unique_ptr<OutputFile> file_;
  const bool immediate_;
  Progress& progress_;
};

// The file to write, or nothing for std::nullopt.
std::variant<std::unique_ptr<OutputFile>, std::string> open_output(
    const std::optional<std::string>& path) {
  if (!path) return std::unique_ptr<OutputFile>();
  return OutputFile::open(*path);
}

std::optional<std::string> serial_path(const std::string& serial) {
  if (serial == "none") return std::nullopt;
  return serial == "stdio" ? "-" : serial;
}

// What the user is told of how the run ended, and the exit status.
struct Ending {
  RunResult::Kind kind;
  ExitStatus status;
  std::string_view message;
};

constexpr std::array kEndings = {
    Ending{RunResult::Kind::kShutdown, ExitStatus::kGuestShutdown,
           "the guest shut down after a triple fault; --trace FILE shows the exceptions that led "
           "to it"},
    Ending{
        RunResult::Kind::kVmxAbort, ExitStatus::kVmxAbort,
        "VMX abort: a VM exit could not be completed; check the VMCS's host state and MSR areas"},
    Ending{RunResult::Kind::kBudgetSpent, ExitStatus::kBudgetSpent,
           "the instruction budget is spent; raise --max-instructions to go on longer"},
    Ending{RunResult::Kind::kHaltedForever, ExitStatus::kHaltedForever,
           "the guest halted, and nothing is left that could wake it"},
    Ending{RunResult::Kind::kReset, ExitStatus::kReset, "the guest reset the machine"},
    Ending{RunResult::Kind::kUnsupported, ExitStatus::kNotSupported,
           "the guest needs what this mode of --l0 does not have"},
    Ending{RunResult::Kind::kOutputError, ExitStatus::kOutputError,
           "the run was stopped because an output could not be written"},
};

int report(const RunResult& result) {
  if (result.kind == RunResult::Kind::kDebugExit) return static_cast<int>(result.code & 0xff);
  for (const Ending& ending : kEndings) {
    if (ending.kind != result.kind) continue;
    std::string text(ending.message);
    if (!result.detail.empty()) text += fmt::format(" ({})", result.detail);
    return complain(ending.status, text);
  }
  return complain(ExitStatus::kInternalError, "internal error: the run ended in an unknown way");
}

}  // namespace

int run_command(const RunOptions& options, const MachineFactory& create) {
  const auto inputs = read_inputs(options.image, options.modules, options.machine.memory_bytes);
  if (const auto* bad = std::get_if<LoadError>(&inputs))
    return complain(ExitStatus::kBadImage, bad->message);
  const auto& [image, modules] = std::get<Inputs>(inputs);

  auto serial_file = open_output(serial_path(options.serial));
  if (const auto* bad = std::get_if<std::string>(&serial_file))
    return complain(ExitStatus::kOutputError, *bad);
  auto trace_file = open_output(options.trace);
  if (const auto* bad = std::get_if<std::string>(&trace_file))
    return complain(ExitStatus::kOutputError, *bad);

  auto dump_file = open_output(options.dump_vmcs);
  if (const auto* bad = std::get_if<std::string>(&dump_file))
    return complain(ExitStatus::kOutputError, *bad);

  Progress progress(options.machine.max_instructions);
  const bool immediate = options.serial == "stdio" && ::isatty(STDOUT_FILENO) != 0;
  SerialOutput serial(std::get<std::unique_ptr<OutputFile>>(std::move(serial_file)), immediate,
                      progress);
  const auto trace_output = std::get<std::unique_ptr<OutputFile>>(std::move(trace_file));
  std::optional<Trace> trace;
  std::optional<FilteredEvents> filter;
  Statistics statistics;
  FanOut sinks;
  if (trace_output) {
    sinks.add(
        filter.emplace(options.trace_filter, trace.emplace(*trace_output, options.trace_format)));
  }
  if (options.stats) sinks.add(statistics);
  const auto dump_output = std::get<std::unique_ptr<OutputFile>>(std::move(dump_file));
  std::optional<VmcsDump> dump;
  if (dump_output) {
    sinks.add(dump.emplace(*dump_output, options.dump_when, options.dump_format,
                           vmx::nestor_capabilities()));
  }

  const OrderlyStop stop;
  MachineOutputs outputs;
  const auto put = [&serial, &filter](MomentWatch::Stream stream) {
    return [&serial, &filter, stream](uint8_t byte) {
      serial.put(byte);
      if (filter) filter->output(stream, byte);
    };
  };
  outputs.serial = put(MomentWatch::Stream::kSerial);
  outputs.console = put(MomentWatch::Stream::kConsole);
  outputs.events = sinks.empty() ? nullptr : &sinks;
  outputs.output_failed = [&] {
    return stop.requested() || (trace && trace->failed()) || (dump && dump->failed()) ||
           serial.error();
  };
  outputs.progress = [&progress](uint64_t instructions) { progress.update(instructions); };

  RunResult result;
  std::string statistics_report, places;
  try {
    auto created = create(options.machine, outputs);
    if (const auto* bad = std::get_if<HostError>(&created)) {
      return complain(ExitStatus::kUnsupportedHost, bad->message);
    }
    Machine& machine = *std::get<std::unique_ptr<Machine>>(created);
    const auto loaded = load_image(image, modules, options.append, machine.memory_map());
    if (const auto* bad = std::get_if<LoadError>(&loaded))
      return complain(ExitStatus::kBadImage, bad->message);
    const LoadedImage& ready = std::get<LoadedImage>(loaded);
    spdlog::info("{}: {} image, entered at {:#x}", image.name, to_string(ready.format),
                 ready.cpu.rip);
    machine.load(ready);
    result = machine.run();
    // The guest's own exits need no explanation.
    if (result.kind != RunResult::Kind::kDebugExit && result.kind != RunResult::Kind::kReset &&
        machine.inspection() != nullptr) {
      places = describe_places(*machine.inspection());
    }
    if (options.stats) {
      // While the machine's clock is there.
      statistics_report = statistics.report();
      if (info_of(options.machine.l0.mode).has_l0) {
        statistics_report += report_l0(options.machine.l0, machine.l0_counters());
      }
    }
  } catch (const RamError& error) {
    return complain(ExitStatus::kBadUsage, error.what());
  }
  progress.clear();
  spdlog::info("{} instructions, {} cycles", result.instructions, result.cycles);
  if (result.stale_translations != 0) {
    spdlog::warn("{} uses of translations that the tables no longer hold; --trace FILE shows them",
                 result.stale_translations);
  }

  serial.close();
  if (trace) trace->finish();
  if (trace_output) trace_output->close();
  if (dump_output) dump_output->close();
  if (options.stats) fmt::print(stderr, "{}", statistics_report);
  int status = static_cast<int>(ExitStatus::kOutputError);
  if (stop.requested()) {
    complain(ExitStatus::kOutputError, "interrupted; the outputs are complete up to here");
    status = 128 + stop_signal;
  } else if (result.kind != RunResult::Kind::kOutputError) {
    status = report(result);
  }
  fmt::print(stderr, "{}", places);
  for (const auto& error : {serial.error(), trace_output ? trace_output->error() : std::nullopt,
                            dump_output ? dump_output->error() : std::nullopt}) {
    if (error)
      status = complain(ExitStatus::kOutputError, *error + "; the run's output is incomplete");
  }
  return status;
}

}  // namespace nestor::emu
