// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/state_options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>

namespace nestor::emu {
namespace {

constexpr const char *kLoad = "--load-state", *kSave = "--save-state", *kAt = "--save-at",
                     *kThenStop = "--save-and-stop";

// What a saved state decides.
constexpr const char* kOfTheMachine[] = {
    "--append", "--firmware",    "--vga",  "--memory",          "--module",
    "--initrd", "--cpu",         "--cpus", "--feature-control", "--tlb",
    "--timing", "--random-seed", "--l0",   "--vmcs-shadowing",  "--shadow-pages"};

}  // namespace

void StateOptions::add_to(CLI::App& run) {
  run.add_option(kSave, save_, "Save the machine to this file; the run goes on")->type_name("FILE");
  run.add_option(kAt, at_,
                 "When: after N instructions, at the N-th VM exit, or at TEXT in what the guest "
                 "writes")
      ->type_name("N|exit:N|mark:TEXT");
  run.add_flag(kThenStop, then_stop_, "End the run, with status 0, when the machine is saved");
  run.add_option(kLoad, load_, "Go on with the machine in this file; there is no IMAGE then")
      ->type_name("FILE");
}

std::string StateOptions::read(const CLI::App& run, StateRun& state) const {
  if (std::string bad = read_load(run, state); !bad.empty()) return bad;
  return read_save(run, state);
}

std::string StateOptions::read_load(const CLI::App& run, StateRun& state) const {
  const bool has_image = run.count("IMAGE") != 0;
  if (run.count(kLoad) == 0) return {};
  if (has_image) return "IMAGE and --load-state exclude each other; leave one out";
  for (const char* option : kOfTheMachine) {
    if (run.count(option) == 0) continue;
    return fmt::format("{} has no effect with --load-state: the machine is as it was saved",
                       option);
  }
  if (load_.empty()) return "--load-state: the name of the file is empty";
  state.load_state = load_;
  return {};
}

std::string StateOptions::read_save(const CLI::App& run, StateRun& state) const {
  if (run.count(kSave) == 0) {
    for (const char* option : {kAt, kThenStop}) {
      if (run.count(option) != 0)
        return fmt::format("{} has no effect without --save-state FILE", option);
    }
    return {};
  }
  if (run.count(kAt) == 0) return "--save-state: say when, with --save-at N, exit:N or mark:TEXT";
  if (save_.empty()) return "--save-state: the name of the file is empty";
  if (save_ == "-") return "--save-state: the standard output takes no state; name a file";
  auto at = parse_moment(at_);
  if (const auto* bad = std::get_if<std::string>(&at)) return fmt::format("{}: {}", kAt, *bad);
  state.save_state = SaveState{save_, std::get<Moment>(std::move(at)), then_stop_};
  return {};
}

}  // namespace nestor::emu
