// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/run_command.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/cli/complain.h"
#include "emu/cli/debugged_run.h"
#include "emu/cli/ending.h"
#include "emu/cli/file_roles.h"
#include "emu/cli/gdb_server.h"
#include "emu/cli/inputs.h"
#include "emu/cli/orderly_stop.h"
#include "emu/cli/run_outputs.h"
#include "emu/machine/board.h"
#include "emu/machine/machine.h"
#include "emu/memory/ram.h"
#include "emu/observe/stopped/places.h"

namespace nestor::emu {
namespace {

// What a run begins with.
using Beginning = std::variant<Inputs, LoadedImage, std::unique_ptr<StateInput>>;

// The disks of a saved machine in the files that are named anew. std::nullopt: done.
std::optional<LoadError> replace_disks(MachineConfig& machine, const MachineConfig& asked) {
  if (asked.cd && !machine.cd)
    return LoadError{"--cdrom: the saved machine has no CD drive; leave the option out"};
  if (asked.cd) machine.cd->path = asked.cd->path;
  std::vector<DiskConfig>& saved = machine.disks;
  const std::vector<DiskConfig>& named = asked.disks;
  if (named.empty()) return std::nullopt;
  if (named.size() != saved.size()) {
    return LoadError{
        fmt::format("the saved machine has {} disks, its EFI application counted, and {} are named",
                    saved.size(), named.size())};
  }
  for (size_t i = 0; i < saved.size(); ++i) {
    if (named[i].writable != saved[i].writable) {
      return LoadError{fmt::format("--disk: '{}' takes the place of a disk with writable={}",
                                   named[i].path, saved[i].writable ? "on" : "off")};
    }
    if (named[i].efi_application != saved[i].efi_application) {
      return LoadError{fmt::format("'{}' takes the place of {}", named[i].path,
                                   saved[i].efi_application
                                       ? "an EFI application; name it with --efi-application"
                                       : "a disk; name it with --disk")};
    }
    if (named[i].ahci != saved[i].ahci) {
      return LoadError{fmt::format("--disk: '{}' takes the place of a disk with interface={}",
                                   named[i].path, saved[i].ahci ? "ahci" : "virtio")};
    }
    saved[i].path = named[i].path;
  }
  return std::nullopt;
}

// And its flash.
std::optional<LoadError> replace_flash(MachineConfig& machine, const MachineConfig& asked) {
  if (!machine.flash) {
    if (!asked.flash) return std::nullopt;
    return LoadError{"--firmware-vars: the saved machine has none; leave the option out"};
  }
  if (asked.flash) {
    if (asked.flash->writable != machine.flash->writable) {
      return LoadError{
          fmt::format("--firmware-vars: '{}' takes the place of a file with writable={}",
                      asked.flash->path, machine.flash->writable ? "on" : "off")};
    }
    machine.flash->path = asked.flash->path;
  }
  return open_flash(*machine.flash);
}

// Reads as much as is needed to make the machine, whose configuration a saved state decides.
std::variant<Beginning, LoadError> read_beginning(RunOptions& options) {
  if (options.firmware) {
    auto& flash = options.machine.flash;
    auto firmware =
        flash ? read_firmware(*options.firmware, *flash) : read_firmware(*options.firmware);
    if (auto* bad = std::get_if<LoadError>(&firmware)) return std::move(*bad);
    options.machine.rom_bytes = std::get<LoadedImage>(firmware).rom_bytes;
    if (options.machine.standard_vga) {
      auto bios = read_vga_bios(*options.firmware);
      if (auto* bad = std::get_if<LoadError>(&bios)) return std::move(*bad);
      options.machine.vga_bios = std::get<std::vector<uint8_t>>(std::move(bios));
    }
    return std::get<LoadedImage>(std::move(firmware));
  }
  if (!options.load_state) {
    auto inputs = read_inputs(options.image, options.modules, options.machine.memory_bytes);
    if (auto* bad = std::get_if<LoadError>(&inputs)) return std::move(*bad);
    return std::get<Inputs>(std::move(inputs));
  }
  auto state = StateInput::open(*options.load_state);
  if (auto* bad = std::get_if<std::string>(&state)) return LoadError{std::move(*bad)};
  auto& input = std::get<std::unique_ptr<StateInput>>(state);
  const uint64_t limit = options.machine.max_instructions;
  const MachineConfig asked = std::exchange(options.machine, input->config());
  options.machine.max_instructions = limit;
  if (options.keyboard != "none" && !options.machine.keyboard)
    return LoadError{"--keyboard: the saved machine has none; leave the option out"};
  if (options.virtio_console && !options.machine.virtio_console)
    return LoadError{"--virtio-console: the saved machine has none; leave the option out"};
  if (options.network && !options.machine.network)
    return LoadError{"--net: the saved machine has no network; leave the option out"};
  if (const auto bad = replace_disks(options.machine, asked)) return *bad;
  if (const auto bad = replace_flash(options.machine, asked)) return *bad;
  return std::move(input);
}

// Fills the memory of a machine with the image and its modules, or loads its saved state; it is
// ready to run then.
std::optional<LoadError> begin(const Beginning& beginning, const RunOptions& options,
                               Machine& machine) {
  if (const auto* state = std::get_if<std::unique_ptr<StateInput>>(&beginning)) {
    if (const auto bad = (*state)->load(machine)) return LoadError{*bad};
    spdlog::info("loaded: {} instructions and {} VM exits so far", machine.instructions(),
                 machine.inspection()->exits());
    return std::nullopt;
  }
  if (const auto* firmware = std::get_if<LoadedImage>(&beginning)) {
    spdlog::info("{}: {} KiB of firmware", *options.firmware, firmware->rom_bytes >> 10);
    machine.load(*firmware);
    return std::nullopt;
  }
  const auto& [image, modules] = std::get<Inputs>(beginning);
  const auto loaded =
      load_image(image, modules, options.append, machine.memory_map(), machine.firmware());
  if (const auto* bad = std::get_if<LoadError>(&loaded)) return *bad;
  const LoadedImage& ready = std::get<LoadedImage>(loaded);
  spdlog::info("{}: {} image, entered at {:#x}", image.name, to_string(ready.format),
               ready.cpu.rip);
  machine.load(ready);
  return std::nullopt;
}

// How a guest ends its run by itself: then its status gives way to one that says what went wrong.
// The other ends say more, as a budget that is spent.
bool is_guests_own(RunResult::Kind kind) {
  return kind == RunResult::Kind::kDebugExit || kind == RunResult::Kind::kReset ||
         kind == RunResult::Kind::kPowerOff;
}

struct Ended {
  RunResult result;
  std::string places;         // where the processors are, when that explains the end
  bool killed = false;        // by GDB
  bool saved = false;         // and so at its end; there is no result
  uint64_t failed_tests = 0;  // in --report
};

// For --report.
RunVerdict judge(const Ended& ended, const OrderlyStop& stop) {
  if (ended.saved) return {};
  RunVerdict verdict = verdict_of(ended.result);
  if (ended.killed) verdict.why = "GDB has ended the run";
  if (stop.requested())
    verdict.why = fmt::format("the run was interrupted by signal {}", stop.signal());
  verdict.detail = ended.places;
  return verdict;
}

// Makes the machine, loads it and runs it to the end. Otherwise the exit status of the process;
// the complaint is made.
std::variant<Ended, int> run_machine(const RunOptions& options, const Beginning& beginning,
                                     RunOutputs& outputs, const OrderlyStop& stop,
                                     std::unique_ptr<GdbServer> server,
                                     const MachineFactory& create) {
  MachineOutputs machine_outputs = outputs.for_machine();
  machine_outputs.output_failed = [&] { return stop.requested() || outputs.failed(); };
  std::optional<DebuggedRun> gdb;
  if (server) {
    gdb.emplace(std::move(server), options.stopped, stop);
    machine_outputs = gdb->wrap(machine_outputs);
  }
  try {
    MachineConfig config = options.machine;
    for (DiskConfig& disk : config.disks) disk.watcher = &outputs;
    if (config.cd) config.cd->watcher = &outputs;
    if (config.flash) config.flash->watcher = &outputs;
    auto created = create(config, machine_outputs);
    if (const auto* bad = std::get_if<HostError>(&created)) {
      return complain(ExitStatus::kUnsupportedHost, bad->message);
    }
    Machine& machine = *std::get<std::unique_ptr<Machine>>(created);
    if (const auto bad = begin(beginning, options, machine)) {
      return complain(ExitStatus::kBadImage, bad->message);
    }
    Ended ended;
    if (gdb) {
      outputs.begin(machine);
      ended.result = gdb->run(machine, options.machine, [&] { outputs.at_pause(); });
      ended.killed = gdb->killed();
      outputs.end();
    } else {
      const auto result = outputs.run(machine);
      ended.saved = !result;
      if (result) ended.result = *result;
    }
    // The guest's own exits need no explanation.
    if (!ended.saved && !is_guests_own(ended.result.kind) && machine.inspection() != nullptr) {
      ended.places = describe_places(*machine.inspection());
    }
    outputs.take_statistics(machine);  // while the machine's clock is there
    outputs.take_profile();
    ended.failed_tests = outputs.take_report(judge(ended, stop));
    outputs.take_screen(machine);
    return ended;
  } catch (const RamError& error) {
    return complain(ExitStatus::kBadUsage, error.what());
  } catch (const PortError& error) {
    return complain(ExitStatus::kBadUsage, error.what());
  } catch (const DiskError& error) {
    return complain(ExitStatus::kBadImage, error.what());
  }
}

void log_result(const RunResult& result) {
  spdlog::info("{} instructions, {} cycles", result.instructions, result.cycles);
  if (result.stale_translations != 0) {
    spdlog::warn(
        "uses of translations that the tables no longer hold: {}; --trace FILE shows the first use "
        "of each",
        result.stale_translations);
  }
  const auto outside = [](std::string_view what, const std::optional<uint64_t>& linear) {
    if (!linear) return;
    spdlog::warn(
        "{} was used at {:#x}, where there is no RAM; --trace FILE shows when, as outside-ram",
        what, *linear);
  };
  outside("the stack", result.stack_outside_ram);
  outside("the interrupt table", result.interrupt_table_outside_ram);
}

// Tells the user how the run ended. Returns the exit status of the process.
int report_end(const Ended& ended, const RunOutputs& outputs, const OrderlyStop& stop) {
  int status = static_cast<int>(ExitStatus::kOutputError);
  if (ended.saved) {
    status = static_cast<int>(ExitStatus::kSuccess);
  } else if (ended.killed) {
    status = complain(ExitStatus::kEndedByDebugger, "GDB has ended the run");
  } else if (stop.requested()) {
    complain(ExitStatus::kOutputError, "interrupted; the outputs are complete up to here");
    status = 128 + stop.signal();
  } else if (ended.result.kind != RunResult::Kind::kOutputError) {
    status = report(ended.result);
    const bool ended_well = verdict_of(ended.result).outcome == TestOutcome::kPassed;
    if (ended_well && ended.failed_tests != 0) {
      status = complain(ExitStatus::kTestsFailed,
                        fmt::format("--report: tests that failed: {}", ended.failed_tests));
    }
  }
  tell(ended.places);
  for (const std::string& error : outputs.errors()) {
    status = complain(ExitStatus::kOutputError, error);
  }
  if (const auto unsaved = outputs.unsaved()) {
    const int told = complain(ExitStatus::kOutputError, *unsaved);
    if (is_guests_own(ended.result.kind)) status = told;
  }
  if (const auto& failure = outputs.disk_failure()) {
    const int told =
        complain(ExitStatus::kOutputError, *failure + "; the guest has got I/O errors");
    if (is_guests_own(ended.result.kind)) status = told;
  }
  return status;
}

void announce(const GdbServer& server, const RunOptions& options) {
  if (server.is_open_to_others()) {
    spdlog::warn(
        "--gdb: whoever reaches this port controls the run and reads its memory; use :PORT for the "
        "loopback");
  }
  const std::string command = server.command();
  if (!command.empty() && options.log_level != "off") tell("nestor: in GDB: " + command + "\n");
}

}  // namespace

int run_command(const RunOptions& asked, const MachineFactory& create) {
  RunOptions options = asked;
  if (const auto shared = shared_file(options)) return complain(ExitStatus::kBadUsage, *shared);
  const auto beginning = read_beginning(options);
  if (const auto* bad = std::get_if<LoadError>(&beginning))
    return complain(ExitStatus::kBadImage, bad->message);
  // A saved machine may have brought disks.
  if (const auto shared = shared_file(options)) return complain(ExitStatus::kBadUsage, *shared);
  try {
    for (DiskConfig& disk : options.machine.disks) disk.bytes = Disk(disk).bytes();
    if (auto& cd = options.machine.cd) cd->bytes = Disk(*cd, Disk::Kind::kCd).bytes();
  } catch (const DiskError& error) {
    return complain(ExitStatus::kBadImage, error.what());
  }
  auto inputs = RunInputs::open(options);
  if (const auto* bad = std::get_if<std::string>(&inputs))
    return complain(ExitStatus::kBadImage, *bad);
  auto profiler = make_profiler(options);
  if (const auto* bad = std::get_if<LoadError>(&profiler))
    return complain(ExitStatus::kBadImage, bad->message);
  // Before the outputs lose what they had.
  std::unique_ptr<GdbServer> server;
  if (options.gdb) {
    auto listening = GdbServer::open(*options.gdb);
    if (const auto* bad = std::get_if<std::string>(&listening))
      return complain(ExitStatus::kOutputError, *bad);
    server = std::get<std::unique_ptr<GdbServer>>(std::move(listening));
  }
  auto opened = RunOutputs::open(options, std::get<RunInputs>(std::move(inputs)),
                                 std::get<0>(std::move(profiler)));
  if (const auto* bad = std::get_if<std::string>(&opened))
    return complain(ExitStatus::kOutputError, *bad);
  RunOutputs& outputs = *std::get<std::unique_ptr<RunOutputs>>(opened);
  const OrderlyStop stop;
  if (server) announce(*server, options);
  tell_stand_in(options.machine.processor);
  if (const auto unread = unread_input(options)) spdlog::warn("{}", *unread);
  const auto ran = run_machine(options, std::get<Beginning>(beginning), outputs, stop,
                               std::move(server), create);
  if (const int* status = std::get_if<int>(&ran)) return *status;
  const Ended& ended = std::get<Ended>(ran);
  outputs.progress().clear();
  if (!ended.saved) log_result(ended.result);
  outputs.finish();
  return report_end(ended, outputs, stop);
}

}  // namespace nestor::emu
