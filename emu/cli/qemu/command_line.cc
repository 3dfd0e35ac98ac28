// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/command_line.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "emu/cli/nearest.h"
#include "emu/cli/qemu/drives.h"
#include "emu/cli/qemu/nestor_arguments.h"
#include "emu/cli/qemu/option_table.h"

namespace nestor::emu::qemu {
namespace {

// Scripts take the version from the third word on.
constexpr const char* kVersion =
    "QEMU emulator version 7.2.0 (whose command line this takes; it is nestor-qemu " NESTOR_VERSION
    ")\n";

std::string help() {
  std::string text = kVersion;
  text +=
      "usage: nestor-qemu [options] [disk_image]\n\n"
      "Runs Nestor by QEMU's command line. What each option becomes:\n\n";
  for (const Row<Wanted>& row : option_table()) {
    if (row.treatment == Treatment::kMissing) continue;
    const std::string left = fmt::format("-{} {}", row.name, row.argument);
    const char* const how = row.treatment == Treatment::kIgnored ? "ignored: " : "";
    text += fmt::format("{:<25} {}{}\n", left, how, row.text);
  }
  return text + "\nWhat is not here, Nestor does not have; docs/qemu.md says why.\n\n" +
         exit_status_help();
}

// What the option asks to print instead of a run.
const char* const kHelpOptions = "h|help";
const char* const kVersionOptions = "version";

Complaint unknown(const std::string& argument, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Row<Wanted>& row : option_table()) names.push_back(row.name);
  const std::string_view close = nearest(name, names);
  if (!close.empty()) return fmt::format("{}: invalid option; did you mean -{}?", argument, close);
  return fmt::format("{}: invalid option; one of nestor run is written -nestor {}", argument,
                     argument.starts_with("--") ? argument + "[=VALUE]" : "--OPTION[=VALUE]");
}

// Reads all options, in order.
Complaint read_all(const std::vector<std::string>& arguments, Wanted& wanted) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with('-') || argument == "-") {
      if (Complaint bad = read_disk(argument, 0, wanted); !bad.empty()) return bad;
      continue;
    }
    const std::string name = argument.substr(argument.starts_with("--") ? 2 : 1);
    if (is_one_of(name, kHelpOptions)) return {help(), ExitStatus::kSuccess};
    if (is_one_of(name, kVersionOptions)) return {kVersion, ExitStatus::kSuccess};
    const auto table = option_table();
    const auto row = std::ranges::find(table, name, &Row<Wanted>::name);
    if (row == table.end()) return unknown(argument, name);
    std::string value;
    if (!row->argument.empty()) {
      if (i + 1 == arguments.size()) return argument + ": requires an argument";
      value = arguments[++i];
    }
    const std::string option = "-" + name;
    const Written written{value.empty() ? option : fmt::format("{} {}", option, value), option};
    if (Complaint bad = apply(*row, written, value, wanted, wanted.report); !bad.empty())
      return bad;
  }
  return {};
}

PrintAndExit print(Complaint bad) {
  if (bad.status == ExitStatus::kSuccess) return {std::move(bad.text), bad.status};
  return {"nestor-qemu: " + bad.text + "\n", bad.status};
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+,./:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::variant<Translation, PrintAndExit> translate(const std::vector<std::string>& arguments) {
  Wanted wanted;
  if (Complaint bad = read_all(arguments, wanted); !bad.empty()) return print(std::move(bad));
  Translation result;
  std::vector<std::string>& missing = wanted.report.missing;
  if (missing.empty()) {
    Complaint bad = check_together(wanted);
    if (bad.status == ExitStatus::kNotInNestor) {
      missing.push_back(std::move(bad.text));
    } else if (!bad.empty()) {
      return print(std::move(bad));
    }
  }
  if (missing.empty()) {
    auto made = nestor_arguments(wanted);
    if (auto* bad = std::get_if<Complaint>(&made)) return print(std::move(*bad));
    result.arguments = std::get<std::vector<std::string>>(std::move(made));
  }
  result.report = std::move(wanted.report);
  result.print = wanted.print;
  result.ends_at_reset = wanted.ends_at_reset;
  return result;
}

std::string shell_command(const std::vector<std::string>& arguments) {
  std::string text = "nestor";
  for (const std::string& argument : arguments) text += " " + quoted(argument);
  return text + "\n";
}

}  // namespace nestor::emu::qemu
