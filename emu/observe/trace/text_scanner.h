// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace nestor::emu {

// Takes from the front of `rest`. Each returns false, and takes nothing, when the front is another
// thing.
struct TextScanner {
  std::string_view rest;

  void blanks() { rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size())); }
  bool literal(std::string_view text) {
    if (!rest.starts_with(text)) return false;
    rest.remove_prefix(text.size());
    return true;
  }
  // Of small letters, digits, '_' and '-'.
  bool word(std::string& out) {
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_word);
    if (end == rest.begin()) return false;
    out.assign(rest.begin(), end);
    rest.remove_prefix(out.size());
    return true;
  }
  bool decimal(uint64_t& out) { return digits(rest, out, 10); }
  bool hexadecimal(uint64_t& out) {
    return rest.starts_with("0x") && digits(rest.substr(2), out, 16);
  }
  // Quoted, or up to a blank or a closing parenthesis.
  bool value(std::string& out) {
    if (literal("\"")) {
      const size_t end = rest.find('"');
      if (end == rest.npos) return false;
      out = rest.substr(0, end);
      rest.remove_prefix(end + 1);
      return true;
    }
    const size_t end = std::min(rest.find_first_of(" )"), rest.size());
    if (end == 0) return false;
    out = rest.substr(0, end);
    rest.remove_prefix(end);
    return true;
  }

 private:
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  }
  bool digits(std::string_view from, uint64_t& out, int base) {
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), out, base);
    if (error != std::errc{}) return false;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return true;
  }
};

}  // namespace nestor::emu
