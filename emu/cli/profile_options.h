// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of `run` that say where a profile of it goes, and the names of the functions in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/loaders/image.h"
#include "emu/observe/profile/profile_file.h"
#include "emu/profile/profiler.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct RunOptions;

struct ProfileRun {
  std::optional<std::string> profile;  // a file, or "-"
  ProfileFormat profile_format = ProfileFormat::kCallgrind;
  std::vector<std::string> symbols, l2_symbols;  // ELF files
};

class ProfileOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing and the other options. A complaint, or the empty string and what was asked
  // for.
  [[nodiscard]] std::string read(const CLI::App& run, RunOptions& options) const;

 private:
  std::string profile_, format_ = "callgrind";
  std::vector<std::string> symbols_, l2_symbols_;
};

// Null where no profile is asked for. The error: a file of symbols cannot be used.
[[nodiscard]] std::variant<std::unique_ptr<profile::Profiler>, LoadError> make_profiler(
    const ProfileRun& run);

}  // namespace nestor::emu
