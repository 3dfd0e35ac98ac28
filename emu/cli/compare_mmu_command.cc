// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/compare_mmu_command.h"

#include <algorithm>
#include <memory>
#include <variant>

#include "emu/cli/complain.h"
#include "emu/cli/file_roles.h"
#include "emu/cli/inputs.h"
#include "emu/cli/processor_options.h"
#include "emu/cli/progress.h"
#include "emu/memory/ram.h"
#include "emu/observe/compare/mmu_modes.h"
#include "emu/observe/trace/output_file.h"

namespace nestor::emu {
namespace {

// std::nullopt: written. Otherwise what went wrong.
std::optional<std::string> write_to(const std::string& path, const std::string& text) {
  auto opened = OutputFile::open(path);
  if (auto* bad = std::get_if<std::string>(&opened)) return *bad;
  OutputFile& file = *std::get<std::unique_ptr<OutputFile>>(opened);
  file.write(text);
  file.close();
  return file.error();
}

int report(const MmuComparison& comparison, const CompareMmuOptions& options) {
  if (options.json) {
    if (const auto error = write_to(*options.json, to_json(comparison)))
      return complain(ExitStatus::kOutputError, *error);
  }
  if (options.json != "-") {
    if (const auto error = write_to("-", to_text(comparison)))
      return complain(ExitStatus::kOutputError, *error);
  }
  return static_cast<int>(comparison.same() ? ExitStatus::kSuccess : ExitStatus::kModesDiffer);
}

}  // namespace

int compare_mmu_command(const CompareMmuOptions& options, const MachineFactory& create) {
  if (const auto shared = shared_file(options)) return complain(ExitStatus::kBadUsage, *shared);
  if (std::ranges::any_of(options.machine.disks, &DiskConfig::writable)) {
    return complain(ExitStatus::kBadUsage,
                    "--disk: with writable=on each mode would find another disk; leave it out");
  }
  const auto inputs = read_inputs(options.image, options.modules, options.machine.memory_bytes);
  if (const auto* bad = std::get_if<LoadError>(&inputs))
    return complain(ExitStatus::kBadImage, bad->message);
  const auto& [image, modules] = std::get<Inputs>(inputs);
  tell_stand_in(options.machine.processor);
  try {
    std::optional<Progress> progress;  // of one mode
    const auto watched = [&](const MachineConfig& config, const MachineOutputs& outputs) {
      if (progress) progress->clear();
      progress.emplace(config.max_instructions);
      MachineOutputs with_progress = outputs;
      with_progress.progress = [&](uint64_t instructions) { progress->update(instructions); };
      return create(config, with_progress);
    };
    const auto compared =
        compare_mmu_modes(image, modules, options.append, options.machine, watched);
    if (progress) progress->clear();
    if (const auto* bad = std::get_if<HostError>(&compared))
      return complain(ExitStatus::kUnsupportedHost, bad->message);
    if (const auto* bad = std::get_if<LoadError>(&compared))
      return complain(ExitStatus::kBadImage, bad->message);
    return report(std::get<MmuComparison>(compared), options);
  } catch (const RamError& error) {
    return complain(ExitStatus::kBadUsage, error.what());
  } catch (const DiskError& error) {
    return complain(ExitStatus::kBadImage, error.what());
  }
}

}  // namespace nestor::emu
