// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "emu/observe/audit/list_pairs.h"
#include "emu/observe/audit/stated_failure.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;

// What a call writes. The value is unknown unless it is a number in the text.
struct Write {
  FieldAccess access;
  std::optional<uint64_t> value;
  size_t line = 0;
};

// Without parentheses around it, and without a cast before it.
std::string_view without_parentheses(std::string_view text) {
  for (text = trimmed(text); text.starts_with('('); text = trimmed(text)) {
    const size_t close = text.find(')');
    if (close == std::string_view::npos) break;
    const bool around = close + 1 == text.size();
    text = around ? text.substr(1, close - 1) : text.substr(close + 1);
  }
  return text;
}

// A number of C or Rust: decimal too, with a suffix for its type and underscores between digits,
// and all ones as ~0 or -1; 64 bits, the field decides how many count.
std::optional<uint64_t> literal(std::string_view written) {
  std::string text(without_parentheses(written));
  std::erase(text, '_');
  for (const std::string_view suffix : {"u64", "u32", "u16", "usize"})
    if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
  const size_t last = text.find_last_not_of("uUlL");
  text.resize(last == std::string::npos ? 0 : last + 1);
  if (text == "~0" || text == "-1") return ~uint64_t{0};
  return parse_number(text);
}

// Comments and strings become blanks; lines stay.
std::string without_comments(std::string_view text) {
  std::string out(text);
  const auto blank = [&out](size_t first, size_t end) {
    for (size_t i = first; i < end; ++i)
      if (out[i] != '\n') out[i] = ' ';
  };
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    size_t end = i + 1;
    if (rest.starts_with("//")) {
      end = std::min(text.find('\n', i), text.size());
    } else if (rest.starts_with("/*")) {
      end = std::min(text.find("*/", i + 2), text.size() - 2) + 2;
    } else if (rest.front() == '"') {
      while (end < text.size() && text[end] != '"' && text[end] != '\n')
        end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
    } else {
      ++i;
      continue;
    }
    blank(i, end);
    i = end;
  }
  return out;
}

// Arguments may stand on lines of their own.
std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// The arguments of the call in `text`, which begins behind its parenthesis; empty: it does not end.
std::vector<std::string_view> arguments(std::string_view text) {
  constexpr size_t kLongest = 400;
  text = text.substr(0, kLongest);
  std::vector<std::string_view> list;
  size_t start = 0;
  for (size_t i = 0, depth = 0; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    const bool ends = text[i] == ')' && depth == 0;
    if (text[i] == ')' && depth > 0) --depth;
    if (!ends && (text[i] != ',' || depth != 0)) continue;
    list.push_back(without_blanks(text.substr(start, i - start)));
    start = i + 1;
    if (ends) return list;
  }
  return {};
}

bool is_of_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '<' || c == '>' ||
         c == ':' || c == '!';
}

// The call whose parenthesis is at `open`, if its function has "write" in its name and it is of a
// field and a value, as in __vmx_vmwrite(GUEST_CR0, 0x31).
std::optional<Write> write_at(std::string_view text, size_t open) {
  size_t start = open;
  while (start > 0 && is_of_name(text[start - 1])) --start;
  const std::string function = normalized_name(text.substr(start, open - start));
  if (function.find("write") == std::string::npos) return std::nullopt;
  const std::vector<std::string_view> list = arguments(text.substr(open + 1));
  if (list.size() != 2) return std::nullopt;
  for (std::string_view name = list[0]; !name.empty();) {
    if (const auto access = find_vmcs_field(name)) return Write{*access, literal(list[1]), 0};
    const size_t end = name.find_first_of(":. ");
    name = end == std::string_view::npos ? std::string_view{} : name.substr(end + 1);
  }
  return std::nullopt;
}

// In the order of the text, with their lines; up to `most`.
std::vector<Write> writes_in(std::string_view source, size_t most) {
  const std::string text = without_comments(source);
  std::vector<Write> writes;
  size_t line = 1, counted = 0;
  for (size_t open = text.find('('); open != std::string::npos && writes.size() < most;
       open = text.find('(', open + 1)) {
    line += static_cast<size_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                                           text.begin() + static_cast<std::ptrdiff_t>(open), '\n'));
    counted = open;
    if (auto write = write_at(text, open)) {
      write->line = line;
      writes.push_back(*write);
    }
  }
  return writes;
}

}  // namespace

bool is_vmcs_code(std::string_view text) { return !writes_in(text, 1).empty(); }

VmcsDocuments read_vmcs_code(std::string_view text) {
  struct Known {
    uint64_t value;
    size_t line;
  };
  std::map<std::pair<Field, bool>, Known> values;  // the last write of a field counts
  for (const Write& write : writes_in(text, text.size())) {
    const std::pair key{write.access.field, write.access.high};
    values.erase(key);
    if (write.value) values.emplace(key, Known{*write.value, write.line});
  }
  VmcsDocument document;
  document.partial = true;
  const std::string prose = without_comments(text);
  for (std::string_view rest = prose; !rest.empty();)
    if (const auto failure = stated_failure(take_line(rest), FailureWords::kNumbers))
      document.state(*failure);
  for (const auto& [key, known] : values) {
    const auto& [field, high] = key;
    const uint64_t mask = high ? 0xffffffff : vmx::value_mask(field);
    const uint64_t value = known.value == ~uint64_t{0} ? mask : known.value;
    if (const std::string bad = document.set({field, high}, value); !bad.empty())
      return fmt::format("line {}: {}: {}", known.line, vmx::info_of(field).name, bad);
  }
  if (values.empty()) return "line 1: no field of a VMCS is written with a number";
  return std::vector<VmcsDocument>{std::move(document)};
}

}  // namespace nestor::emu
