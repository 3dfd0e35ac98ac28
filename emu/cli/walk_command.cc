// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/walk_command.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <variant>

#include "emu/cli/complain.h"
#include "emu/cli/inputs.h"
#include "emu/cli/moment_stop.h"
#include "emu/memory/ram.h"
#include "emu/observe/stopped/places.h"
#include "emu/observe/stopped/walk_text.h"

namespace nestor::emu {
namespace {

bool print_now(const std::string& text) {
  return std::fputs(text.c_str(), stdout) != EOF && std::fflush(stdout) == 0;
}

// Waits for a line of the standard input; what comes after its end is not waited for.
void wait_for_enter() {
  for (int c = std::getchar(); c != '\n' && c != EOF;) c = std::getchar();
}

int print_walk(const WalkOptions& options, const Inspection& machine, unsigned processor) {
  const bool has_vmcs = machine.vmcs(processor) != nullptr;
  const View view = options.view.value_or(has_vmcs ? View::kL2Linear : View::kL1Linear);
  const auto walk = machine.walk(processor, view, options.address, options.access);
  if (!walk) {
    return complain(ExitStatus::kBadUsage,
                    "--level: L1 has no current VMCS at this moment, so there is no L2");
  }
  bool good = print_now(fmt::format(
      "{}{} {:#x}, {}\n", describe_places(machine), name_view(view), options.address,
      options.step && !walk->steps.empty() ? "step by step; Enter goes on" : "step by step"));
  for (const ept::Step& step : walk->steps) {
    if (options.step) wait_for_enter();
    good = good && print_now(describe_step(step));
  }
  good = good && print_now(describe_end(*walk));
  return good ? static_cast<int>(ExitStatus::kSuccess)
              : complain(ExitStatus::kOutputError, "cannot write the standard output");
}

int run_and_walk(const WalkOptions& options, const Inputs& inputs, const MachineFactory& create) {
  MomentStop stop(options.at);
  MachineOutputs outputs;
  const auto heard = [&stop](MomentWatch::Stream stream) {
    return [&stop, stream](uint8_t byte) { stop.output(stream, byte); };
  };
  outputs.serial = heard(MomentWatch::Stream::kSerial);
  outputs.console = heard(MomentWatch::Stream::kConsole);
  outputs.virtio_console = heard(MomentWatch::Stream::kVirtioConsole);
  outputs.events = &stop;
  const auto created = create(options.machine, outputs);
  if (const auto* bad = std::get_if<HostError>(&created))
    return complain(ExitStatus::kUnsupportedHost, bad->message);
  Machine& machine = *std::get<std::unique_ptr<Machine>>(created);
  const auto loaded = load_image(inputs.image, inputs.modules, options.append, machine.memory_map(),
                                 machine.firmware());
  if (const auto* bad = std::get_if<LoadError>(&loaded))
    return complain(ExitStatus::kBadImage, bad->message);
  machine.load(std::get<LoadedImage>(loaded));
  stop.watch(machine);
  while (!stop.reached()) {
    if (!machine.run_until(stop.until())) break;
  }
  if (!stop.reached()) {
    return complain(ExitStatus::kMomentMissed,
                    fmt::format("the run ended before the moment of --at, after {} instructions",
                                machine.instructions()));
  }
  return print_walk(options, *machine.inspection(), stop.latest_processor());
}

}  // namespace

int walk_command(const WalkOptions& options, const MachineFactory& create) {
  const auto inputs = read_inputs(options.image, options.modules, options.machine.memory_bytes);
  if (const auto* bad = std::get_if<LoadError>(&inputs))
    return complain(ExitStatus::kBadImage, bad->message);
  try {
    return run_and_walk(options, std::get<Inputs>(inputs), create);
  } catch (const RamError& error) {
    return complain(ExitStatus::kBadUsage, error.what());
  } catch (const DiskError& error) {
    return complain(ExitStatus::kBadImage, error.what());
  }
}

}  // namespace nestor::emu
