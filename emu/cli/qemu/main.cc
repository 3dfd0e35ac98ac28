// SPDX-License-Identifier: GPL-2.0-or-later
//
// nestor-qemu: nestor run, by QEMU's command line.
#include <spdlog/fmt/fmt.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "emu/cli/complain.h"
#include "emu/cli/orderly_stop.h"
#include "emu/cli/qemu/command_line.h"
#include "emu/cli/run_command.h"
#include "emu/engine/unicorn/unicorn_engine.h"

namespace nestor::emu::qemu {
namespace {

constexpr const char* kName = "nestor-qemu";

std::variant<std::unique_ptr<Machine>, HostError> create(const MachineConfig& config,
                                                         const MachineOutputs& outputs) {
  return Machine::create(config, outputs, create_unicorn_engine);
}

int run(const std::vector<std::string>& arguments) {
  const auto translated = translate(arguments);
  if (const auto* print = std::get_if<PrintAndExit>(&translated)) return print_and_exit(*print);
  const Translation& translation = std::get<Translation>(translated);
  for (const std::string& line : translation.report.ignored)
    tell(fmt::format("{}: warning: {}\n", kName, line));
  for (const std::string& line : translation.report.missing)
    complain(ExitStatus::kNotInNestor, line);
  if (!translation.report.missing.empty()) return static_cast<int>(ExitStatus::kNotInNestor);
  if (translation.print) return print_and_exit({shell_command(translation.arguments)});
  Program program;
  program.name = kName;
  program.help = "-nestor-print shows the command of nestor that this is";
  const auto parsed = parse_command_line(translation.arguments, {}, program);
  if (const auto* print = std::get_if<PrintAndExit>(&parsed)) return print_and_exit(*print);
  const RunOptions& options = std::get<RunOptions>(parsed);
  // Scripts of QEMU's, as those of kvm-unit-tests, take a line with "warning" for harmless, and any
  // other for a failure.
  log_by_telling(options.log_level, LinePrefix::kAll);
  const int status = run_command(options, create);
  const bool asked_for =
      translation.ends_at_reset && status == static_cast<int>(ExitStatus::kReset);
  return asked_for ? static_cast<int>(ExitStatus::kSuccess) : status;
}

}  // namespace
}  // namespace nestor::emu::qemu

int main(int argc, char** argv) {
  using namespace nestor::emu;
  keep_standard_descriptors();
  complain_as(qemu::kName);
  // A reader that goes away is a write error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file that may not grow
  std::string what = "an unknown exception";
  try {
    end_at_signals();
    return final_status(qemu::run({argv + (argc > 0 ? 1 : 0), argv + argc}));
  } catch (const std::bad_alloc&) {
    what = "the host has no memory left; use less with -m";
  } catch (const std::exception& error) {
    what = error.what();
  }
  return complain(ExitStatus::kInternalError, "internal error: " + what);
}
