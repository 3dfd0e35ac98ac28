// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/mail_text.h"

#include <charconv>
#include <optional>

namespace nestor::emu {
namespace {

// The byte that "=3D" stands for; mail programs write capital letters.
std::optional<char> encoded_byte(std::string_view text) {
  if (text.size() < 3 || text[0] != '=') return std::nullopt;
  if (text.substr(1, 2).find_first_not_of("0123456789ABCDEF") != std::string_view::npos)
    return std::nullopt;
  unsigned value = 0;
  std::from_chars(text.data() + 1, text.data() + 3, value, 16);
  return static_cast<char>(value);
}

// The length of the "=" and line end that break a line in two; 0: there is none.
size_t soft_break(std::string_view text) {
  for (const std::string_view end : {"=\n", "=\r\n"})
    if (text.starts_with(end)) return end.size();
  return text == "=" ? 1 : 0;
}

// It writes every equals sign as "=3D".
bool is_quoted_printable(std::string_view text) {
  bool equals = false;
  for (size_t at = text.find('='); at != std::string_view::npos; at = text.find('=', at + 1)) {
    const std::string_view rest = text.substr(at);
    if (soft_break(rest) == 0 && !encoded_byte(rest)) return false;
    equals = equals || rest.starts_with("=3D");
  }
  return equals;
}

}  // namespace

std::string decoded_mail(std::string_view text) {
  if (!is_quoted_printable(text)) return std::string(text);
  constexpr std::string_view kNoBreakSpace = "\xc2\xa0";
  std::string out;
  size_t joined = 0;  // lines that the current one is made of, but for the first
  while (!text.empty()) {
    if (const size_t length = soft_break(text); length != 0) {
      ++joined;
      text.remove_prefix(length);
    } else if (const auto byte = encoded_byte(text)) {
      out += *byte;
      text.remove_prefix(3);
      if (out.ends_with(kNoBreakSpace)) out.replace(out.size() - kNoBreakSpace.size(), 2, " ");
    } else {
      out += text.front();
      if (text.front() == '\n') {
        out.append(joined, '\n');
        joined = 0;
      }
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace nestor::emu
