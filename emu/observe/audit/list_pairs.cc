// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/list_pairs.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>

#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kBlank = " \t";
constexpr std::string_view kAfterNumber = " \t,;()|";
constexpr std::string_view kOfNumbers = "0123456789abcdefABCDEFxX`hHuUlL/";

bool is_digit_of_16(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// The number with which `text` begins, after blanks; empty: there is none.
std::string_view leading_number(std::string_view text) {
  text = trimmed(text);
  std::string_view number = text.substr(0, text.find_first_of(kAfterNumber));
  while (number.ends_with('.') || number.ends_with('!')) number.remove_suffix(1);
  return number.find_first_not_of(kOfNumbers) == std::string_view::npos ? number
                                                                        : std::string_view{};
}

// Without the marks of Markdown; a grave accent within a number is WinDbg's.
std::string without_markup(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool in_number =
        i > 0 && i + 1 < line.size() && is_digit_of_16(line[i - 1]) && is_digit_of_16(line[i + 1]);
    if (line[i] == '*' || (line[i] == '`' && !in_number)) continue;
    out += line[i];
  }
  return out;
}

// Takes what is before a comma off `text`; commas in parentheses belong to what they explain.
std::string_view take_part(std::string_view& text) {
  size_t end = 0;
  for (int depth = 0; end < text.size() && (depth > 0 || text[end] != ','); ++end)
    depth += text[end] == '(' ? 1 : text[end] == ')' ? -1 : 0;
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

std::string name_of(std::string_view text) {
  constexpr std::string_view kAround = " \t;,:=()";
  const size_t first = text.find_first_not_of(" \t;,)");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kAround) - first + 1));
}

// Every NAME = VALUE and NAME: 0xVALUE of a part.
std::vector<ListPair> several(std::string_view part) {
  std::vector<ListPair> pairs;
  size_t start = 0;
  int depth = 0;
  for (size_t i = 0; i < part.size(); ++i) {
    depth += part[i] == '(' ? 1 : part[i] == ')' ? -1 : 0;
    if (depth > 0 || (part[i] != '=' && part[i] != ':')) continue;
    const std::string_view number = leading_number(part.substr(i + 1));
    if (number.empty() || (part[i] == ':' && !is_prefixed_hexadecimal(number))) continue;
    pairs.push_back({name_of(part.substr(start, i - start)), std::string(number), pairs.empty()});
    start = static_cast<size_t>(number.data() - part.data()) + number.size();
    i = start - 1;
  }
  return pairs;
}

// NAME: VALUE, or NAME 0xVALUE.
std::optional<ListPair> single(std::string_view part) {
  size_t at = part.rfind(':');
  while (at != std::string_view::npos && is_in_time(part, at))
    at = at == 0 ? std::string_view::npos : part.rfind(':', at - 1);
  if (at != std::string_view::npos) {
    const std::string_view number = leading_number(part.substr(at + 1));
    if (!number.empty()) return ListPair{name_of(part.substr(0, at)), std::string(number), true};
  }
  part = trimmed(part);
  at = part.find(" 0x");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view number = leading_number(part.substr(at + 1));
  if (number.empty()) return std::nullopt;
  return ListPair{name_of(part.substr(0, at)), std::string(number), true};
}

// The value in a cell: a number, or one after an equals sign.
std::string_view cell_number(std::string_view cell) {
  const std::string_view number = leading_number(cell.substr(cell.find('=') + 1));
  return is_prefixed_hexadecimal(number) ? number : std::string_view{};
}

// A row of a table. Its field is what it gives the encoding of, or else its first cell; its value
// is the number behind that.
std::vector<ListPair> table_row(std::string_view row) {
  std::vector<std::string_view> cells;
  for (row.remove_prefix(1); !row.empty();) {
    const size_t end = std::min(row.find('|'), row.size());
    cells.push_back(trimmed(row.substr(0, end)));
    row.remove_prefix(std::min(end + 1, row.size()));
  }
  if (cells.empty()) return {};
  std::vector<std::string_view> numbers;
  for (const std::string_view cell : cells)
    if (const auto number = cell_number(cell); !number.empty()) numbers.push_back(number);
  std::optional<vmx::FieldAccess> named;
  if (!is_prefixed_hexadecimal(cells[0])) named = find_vmcs_field(cells[0]);
  const vmx::Field field = named.value_or(vmx::FieldAccess{}).field;
  if (numbers.empty()) {
    // Whoever reads it says what is wrong with a number without 0x.
    for (size_t i = 1; named && i < cells.size(); ++i)
      if (const auto number = leading_number(cells[i]); !number.empty())
        return {{std::string(cells[0]), std::string(number), true}};
    return {};
  }
  constexpr size_t kEncodingSize = 6;  // "0x0802"
  const auto encoded = numbers.size() > 1 && numbers[0].size() >= kEncodingSize
                           ? find_vmcs_field(numbers[0])
                           : std::nullopt;
  if (encoded && (!named || field == encoded->field))
    return {{std::string(numbers[0]), std::string(numbers[1]), true}};
  if (!named) return {};
  // The encoding alone, beside a value that is no number.
  if (numbers.size() == 1 && numbers[0].size() >= kEncodingSize)
    if (const auto own = find_vmcs_field(numbers[0]); own && own->field == field) return {};
  return {{std::string(cells[0]), std::string(numbers[0]), true}};
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return text.substr(text.size());
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool is_in_time(std::string_view text, size_t colon) {
  constexpr std::string_view kDigits = "0123456789";
  const auto is_word_of_two = [&](std::string_view word) {
    return !word.empty() && word.size() <= 2 &&
           word.find_first_not_of(kDigits) == std::string_view::npos;
  };
  const auto is_of_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  size_t first = colon, end = colon + 1;
  while (first > 0 && is_of_word(text[first - 1])) --first;
  while (end < text.size() && is_of_word(text[end])) ++end;
  return is_word_of_two(text.substr(first, colon - first)) &&
         is_word_of_two(text.substr(colon + 1, end - colon - 1));
}

bool is_prefixed_hexadecimal(std::string_view text) {
  return text.starts_with("0x") || text.starts_with("0X");
}

std::vector<ListPair> list_pairs(std::string_view line) {
  std::string plain = without_markup(trimmed(line));
  if (plain.starts_with("- ")) plain.erase(0, 2);
  if (plain.starts_with('#') || plain.starts_with("//")) return {};
  if (plain.starts_with('|')) return table_row(plain);
  std::vector<ListPair> pairs;
  for (std::string_view text = plain; !text.empty();) {
    const std::string_view part = take_part(text);
    std::vector<ListPair> found = several(part);
    if (found.empty())
      if (auto pair = single(part)) found.push_back(std::move(*pair));
    std::ranges::move(found, std::back_inserter(pairs));
  }
  return pairs;
}

std::vector<ListPair> parts_of(const ListPair& pair) {
  const auto names = split(pair.name, '/');
  const auto numbers = split(pair.number, '/');
  if (numbers.size() != 1 && numbers.size() != names.size()) return {};
  const std::string stem(names[0].substr(0, names[0].find_last_of(" _-") + 1));
  std::vector<ListPair> pairs;
  for (size_t i = 0; i < names.size(); ++i)
    pairs.push_back({(i == 0 ? "" : stem) + std::string(names[i]),
                     std::string(numbers[numbers.size() == 1 ? 0 : i]), pair.leading});
  return pairs;
}

}  // namespace nestor::emu
