// SPDX-License-Identifier: GPL-2.0-or-later
#include <capstone/capstone.h>
#include <spdlog/fmt/fmt.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "emu/cli/audit_command.h"
#include "emu/cli/compare_mmu_command.h"
#include "emu/cli/complain.h"
#include "emu/cli/exit_status.h"
#include "emu/cli/options.h"
#include "emu/cli/orderly_stop.h"
#include "emu/cli/price_command.h"
#include "emu/cli/run_command.h"
#include "emu/cli/stats_command.h"
#include "emu/cli/view_command.h"
#include "emu/cli/walk_command.h"
#include "emu/engine/unicorn/unicorn_engine.h"

namespace nestor::emu {
namespace {

std::string versions() {
  int major = 0, minor = 0;
  cs_version(&major, &minor);
  return fmt::format("nestor {}\nUnicorn {}\nCapstone {}.{}", NESTOR_VERSION, unicorn_version(),
                     major, minor);
}

std::variant<std::unique_ptr<Machine>, HostError> create_machine(const MachineConfig& config,
                                                                 const MachineOutputs& outputs) {
  return Machine::create(config, outputs, create_unicorn_engine);
}

int run(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments, versions());
  if (const auto* print = std::get_if<PrintAndExit>(&parsed)) {
    return print_and_exit(*print);
  }
  if (const auto* diff = std::get_if<DiffOptions>(&parsed)) return diff_command(*diff);
  if (const auto* stats = std::get_if<StatsOptions>(&parsed)) return stats_command(*stats);
  if (const auto* view = std::get_if<ViewOptions>(&parsed)) return view_command(*view);
  if (const auto* audit = std::get_if<AuditOptions>(&parsed)) return audit_command(*audit);
  if (const auto* price = std::get_if<PriceOptions>(&parsed)) return price_command(*price);
  if (const auto* compare = std::get_if<CompareMmuOptions>(&parsed)) {
    return compare_mmu_command(*compare, create_machine);
  }
  if (const auto* walk = std::get_if<WalkOptions>(&parsed))
    return walk_command(*walk, create_machine);
  const RunOptions& options = std::get<RunOptions>(parsed);
  log_by_telling(options.log_level);
  return run_command(options, create_machine);
}

}  // namespace
}  // namespace nestor::emu

int main(int argc, char** argv) {
  using nestor::emu::ExitStatus;
  nestor::emu::keep_standard_descriptors();
  // A reader that goes away is a write error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file that may not grow
  try {
    nestor::emu::end_at_signals();
    return nestor::emu::final_status(nestor::emu::run({argv + (argc > 0 ? 1 : 0), argv + argc}));
  } catch (const std::bad_alloc&) {
    std::fputs("nestor: internal error: the host has no memory left; use less with --memory\n",
               stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nestor: internal error: %s\n", error.what());
  } catch (...) {
    std::fputs("nestor: internal error: an unknown exception\n", stderr);
  }
  return static_cast<int>(ExitStatus::kInternalError);
}
