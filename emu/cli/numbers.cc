// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/numbers.h"

#include <charconv>
#include <limits>

namespace nestor::emu {
namespace {

std::optional<uint64_t> whole_number(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  unsigned shift = 0;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
      case 'K':
        shift = 10;
        break;
      case 'm':
      case 'M':
        shift = 20;
        break;
      case 'g':
      case 'G':
        shift = 30;
        break;
      default:
        break;
    }
    if (shift != 0) text.remove_suffix(1);
  }
  const auto value = parse_count(text);
  if (!value || *value > std::numeric_limits<uint64_t>::max() >> shift) return std::nullopt;
  return *value << shift;
}

std::optional<uint64_t> parse_count(std::string_view text) { return whole_number(text, 10); }

std::optional<uint64_t> parse_address(std::string_view text) {
  return text.starts_with("0x") ? whole_number(text.substr(2), 16) : whole_number(text, 10);
}

}  // namespace nestor::emu
