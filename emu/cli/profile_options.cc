// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/profile_options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "emu/cli/options.h"
#include "emu/loaders/elf_symbols.h"
#include "emu/loaders/read_file.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kLargestSymbolFile = 4ull << 30;

constexpr std::array<std::pair<std::string_view, ProfileFormat>, 3> kProfileFormats = {{
    {"callgrind", ProfileFormat::kCallgrind},
    {"folded", ProfileFormat::kFolded},
    {"json", ProfileFormat::kJson},
}};

std::variant<profile::SymbolTable, LoadError> read_symbols(const std::vector<std::string>& files) {
  std::vector<profile::Symbol> all;
  for (const std::string& path : files) {
    const auto bytes = read_file(path, "symbols", kLargestSymbolFile);
    if (const auto* bad = std::get_if<LoadError>(&bytes)) return *bad;
    auto symbols = read_elf_symbols(std::get<std::vector<uint8_t>>(bytes));
    if (const auto* bad = std::get_if<LoadError>(&symbols))
      return LoadError{fmt::format("cannot use symbols of '{}': {}", path, bad->message)};
    for (ElfSymbol& symbol : std::get<std::vector<ElfSymbol>>(symbols))
      all.push_back({symbol.first, symbol.end, std::move(symbol.name)});
  }
  return profile::SymbolTable(std::move(all));
}

}  // namespace

void ProfileOptions::add_to(CLI::App& run) {
  run.add_option("--profile", profile_,
                 "Write the cycles of each function, in the calls that led there, to this file; - "
                 "is the standard output")
      ->type_name("FILE");
  run.add_option("--profile-format", format_, "Format of the profile")
      ->type_name("callgrind|folded|json")
      ->capture_default_str();
  run.add_option("--symbols", symbols_, "ELF file that names functions of L1; repeatable")
      ->type_name("ELF")
      ->allow_extra_args(false);
  run.add_option("--l2-symbols", l2_symbols_, "ELF file that names functions of L2; repeatable")
      ->type_name("ELF")
      ->allow_extra_args(false);
}

std::string ProfileOptions::read(const CLI::App& run, RunOptions& options) const {
  for (const std::string_view option : {"--profile-format", "--symbols", "--l2-symbols"}) {
    if (run.count(std::string(option)) != 0 && run.count("--profile") == 0)
      return fmt::format("{} has no effect without --profile FILE", option);
  }
  if (run.count("--profile") == 0) return {};
  if (profile_.empty()) return "--profile: the name of the file is empty";
  const auto* const format = std::ranges::find(kProfileFormats, format_,
                                               &std::pair<std::string_view, ProfileFormat>::first);
  if (format == kProfileFormats.end()) {
    return fmt::format("--profile-format: '{}' is none of callgrind, folded and json", format_);
  }
  if (options.gdb) return "--profile and --gdb: a debugged run goes back and forth; leave one out";
  options.profile = profile_;
  options.profile_format = format->second;
  options.symbols = symbols_;
  options.l2_symbols = l2_symbols_;
  return {};
}

std::variant<std::unique_ptr<profile::Profiler>, LoadError> make_profiler(const ProfileRun& run) {
  if (!run.profile) return nullptr;
  auto l1 = read_symbols(run.symbols);
  if (const auto* bad = std::get_if<LoadError>(&l1)) return *bad;
  auto l2 = read_symbols(run.l2_symbols);
  if (const auto* bad = std::get_if<LoadError>(&l2)) return *bad;
  return std::make_unique<profile::Profiler>(std::get<profile::SymbolTable>(std::move(l1)),
                                             std::get<profile::SymbolTable>(std::move(l2)));
}

}  // namespace nestor::emu
