// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/row.h"

#include <spdlog/fmt/fmt.h>

#include "emu/cli/numbers.h"

namespace nestor::emu::qemu {

bool is_one_of(std::string_view value, std::string_view values) {
  while (!values.empty()) {
    const size_t end = std::min(values.find('|'), values.size());
    if (value == values.substr(0, end)) return true;
    values.remove_prefix(std::min(end + 1, values.size()));
  }
  return false;
}

std::optional<bool> parse_boolean(std::string_view value) {
  if (is_one_of(value, "on|yes|true|y")) return true;
  if (is_one_of(value, "off|no|false|n")) return false;
  return std::nullopt;
}

std::string wrong_value(std::string_view argument, const std::string& value) {
  if (argument == "N") return parse_address(value) ? "" : fmt::format("'{}' is no number", value);
  if (argument == "on") argument = "on|off";
  if (argument.find('|') == argument.npos || is_one_of(value, argument)) return {};
  if (is_one_of("on", argument) && parse_boolean(value)) return {};
  return fmt::format("'{}' is none of {}", value, argument);
}

std::vector<std::string> split_items(std::string_view text) {
  std::vector<std::string> items(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      items.back() += text[i];
    } else if (text.substr(i + 1).starts_with(',')) {
      items.back() += ',';
      ++i;
    } else {
      items.emplace_back();
    }
  }
  return items;
}

std::vector<Pair> split_keys(std::string_view text, std::string_view implied) {
  const std::vector<std::string> items = split_items(text);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string& item = items[i];
    const size_t equals = item.find('=');
    if (equals != std::string::npos) {
      pairs.push_back({item.substr(0, equals), item.substr(equals + 1)});
    } else if (i == 0 && !implied.empty()) {
      pairs.push_back({std::string(implied), item});
    } else if (!item.empty()) {
      const bool off = item.starts_with("no") && item.size() > 2;
      pairs.push_back({off ? item.substr(2) : item, off ? "off" : "on"});
    }
  }
  return pairs;
}

}  // namespace nestor::emu::qemu
