// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "emu/observe/audit/list_pairs.h"
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
};

// A number of C: decimal too, and all ones as ~0 or -1; 64 bits, the field decides how many count.
std::optional<uint64_t> literal(std::string_view text) {
  text = trimmed(text);
  const size_t suffix = text.find_last_not_of("uUlL");
  text = text.substr(0, suffix == std::string_view::npos ? 0 : suffix + 1);
  if (text == "~0" || text == "-1") return ~uint64_t{0};
  return parse_number(text);
}

// The arguments of the call in `text`, which begins behind its parenthesis.
std::vector<std::string_view> arguments(std::string_view text) {
  std::vector<std::string_view> list;
  size_t start = 0;
  for (size_t i = 0, depth = 0; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    const bool ends = text[i] == ')' && depth == 0;
    if (text[i] == ')' && depth > 0) --depth;
    if (!ends && (text[i] != ',' || depth != 0)) continue;
    list.push_back(trimmed(text.substr(start, i - start)));
    start = i + 1;
    if (ends) return list;
  }
  return {};
}

bool is_of_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '<' || c == '>' ||
         c == ':' || c == '!';
}

// A call whose function has "write" in its name, of a field and a value, as in
// __vmx_vmwrite(GUEST_CR0, 0x31).
std::optional<Write> write_of(std::string_view line) {
  if (trimmed(line).starts_with("//")) return std::nullopt;
  for (size_t open = line.find('('); open != std::string_view::npos;
       open = line.find('(', open + 1)) {
    size_t start = open;
    while (start > 0 && is_of_name(line[start - 1])) --start;
    std::string function = normalized_name(line.substr(start, open - start));
    if (function.find("write") == std::string::npos) continue;
    const std::vector<std::string_view> list = arguments(line.substr(open + 1));
    if (list.size() != 2) continue;
    for (std::string_view name = list[0]; !name.empty();) {
      if (const auto access = find_vmcs_field(name)) return Write{*access, literal(list[1])};
      const size_t end = name.find_first_of(":. ");
      name = end == std::string_view::npos ? std::string_view{} : name.substr(end + 1);
    }
  }
  return std::nullopt;
}

}  // namespace

bool is_vmcs_code(std::string_view text) {
  while (!text.empty())
    if (write_of(take_line(text))) return true;
  return false;
}

VmcsDocuments read_vmcs_code(std::string_view text) {
  struct Known {
    uint64_t value;
    size_t line;
  };
  std::map<std::pair<Field, bool>, Known> values;  // the last write of a field counts
  for (size_t line = 1; !text.empty(); ++line) {
    const auto write = write_of(take_line(text));
    if (!write) continue;
    const std::pair key{write->access.field, write->access.high};
    values.erase(key);
    if (write->value) values.emplace(key, Known{*write->value, line});
  }
  VmcsDocument document;
  document.partial = true;
  for (const auto& [key, known] : values) {
    const auto& [field, high] = key;
    const uint64_t mask = high ? 0xffffffff : vmx::value_mask(field);
    const uint64_t value = known.value == ~uint64_t{0} ? mask : known.value;
    if (const std::string bad = document.set({field, high}, value); !bad.empty())
      return fmt::format("line {}: {}: {}", known.line, vmx::info_of(field).name, bad);
  }
  if (document.given.empty()) return "line 1: no field of a VMCS is written with a number";
  return std::vector<VmcsDocument>{std::move(document)};
}

}  // namespace nestor::emu
