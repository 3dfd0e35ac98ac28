// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/usage_error.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "emu/cli/nearest.h"

namespace nestor::emu {
namespace {

// The command that was named, or the program.
const CLI::App& named_command(const CLI::App& app) {
  const auto named = app.get_subcommands();
  return named.empty() ? app : *named.front();
}

std::string unexpected(const CLI::App& app, const std::vector<std::string>& arguments) {
  const CLI::App& command = named_command(app);
  const std::vector<std::string> extras = app.remaining(true);
  const auto is_extra = [&](const std::string& argument) {
    return std::ranges::find(extras, argument) != extras.end();
  };
  const auto first_option = std::ranges::find_if(arguments, [&](const std::string& argument) {
    return argument.size() > 1 && argument.starts_with('-') && is_extra(argument);
  });
  const bool is_option = first_option != arguments.end();
  const auto found = is_option ? first_option : std::ranges::find_if(arguments, is_extra);
  if (found == arguments.end()) return "an argument is not expected";
  std::vector<std::string> names;
  if (is_option) {
    for (const CLI::Option* option : command.get_options({}))
      if (option->nonpositional()) names.push_back(option->get_name());
  } else if (&command == &app) {
    for (const CLI::App* one : app.get_subcommands({})) names.push_back(one->get_name());
  }
  const std::string what = found->substr(0, is_option ? found->find('=') : std::string::npos);
  const std::string_view close = nearest(what, {names.begin(), names.end()});
  const std::string hint = close.empty() ? "" : fmt::format("; did you mean {}?", close);
  if (is_option) return fmt::format("unknown option {}{}", what, hint);
  return &command == &app ? fmt::format("unknown command '{}'{}", what, hint)
                          : fmt::format("'{}' is one argument too many", what);
}

// The option whose name the message has in front, or anywhere.
const CLI::Option* option_of(const CLI::App& command, std::string_view message) {
  for (const CLI::Option* option : command.get_options({}))
    if (message.starts_with(option->get_name() + ":")) return option;
  for (const CLI::Option* option : command.get_options({}))
    if (message.find(option->get_name() + " ") != std::string_view::npos) return option;
  return nullptr;
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error,
                        const std::vector<std::string>& arguments) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) return unexpected(app, arguments);
  // Only the first line counts.
  std::string message = error.what();
  message.resize(std::min(message.find('\n'), message.size()));
  const CLI::Option* option = option_of(named_command(app), message);
  if (option == nullptr) return message;
  const std::string name = option->get_name();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const bool too_many = static_cast<int>(option->count()) > option->get_items_expected_max();
    return too_many ? fmt::format("{} is given more than once; give it once", name)
                    : fmt::format("{} needs {}", name, option->get_type_name());
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr && option->count() != 0) {
    return fmt::format("{}: '{}' is not possible; it takes {}", name, option->results().back(),
                       option->get_type_name().empty() ? "no value" : option->get_type_name());
  }
  return message;
}

}  // namespace nestor::emu
