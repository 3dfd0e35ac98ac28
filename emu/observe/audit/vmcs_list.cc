// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;

constexpr std::string_view kBlank = " \t";
constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// --- HAXM: "4000 VMX_PIN_CONTROLS: 3f", all numbers hexadecimal.

struct HaxmLine {
  Field field{};
  std::string_view number;
};

std::optional<HaxmLine> haxm_line(std::string_view line) {
  constexpr size_t kEncodingDigits = 4;
  const size_t colon = line.rfind(": ");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view number = trimmed(line.substr(colon + 2));
  const std::string_view left = line.substr(0, colon);
  const size_t blank = left.rfind(' ');
  if (blank == std::string_view::npos || blank < kEncodingDigits || !parse_hexadecimal(number))
    return std::nullopt;
  const std::string_view encoding = left.substr(blank - kEncodingDigits, kEncodingDigits);
  if (encoding.find_first_not_of(kHexDigits) != std::string_view::npos) return std::nullopt;
  const auto access = vmx::decode_field(static_cast<uint32_t>(*parse_hexadecimal(encoding)));
  if (!access || access->high) return std::nullopt;
  return HaxmLine{access->field, number};
}

// Fields that HAXM does not print.
constexpr std::array kNeverInHaxm = {Field::kHostIa32Pat, Field::kHostIa32Efer,
                                     Field::kHostIa32PerfGlobalCtrl};

// --- Lists.

// The name before a value, as it may be, and the value.
struct ListLine {
  std::string_view name, number;
};

bool is_prefixed_hexadecimal(std::string_view text) {
  return text.starts_with("0x") || text.starts_with("0X");
}

// NAME = VALUE, NAME: VALUE, or NAME 0xVALUE.
std::optional<ListLine> list_line(std::string_view line) {
  line = trimmed(line);
  if (line.starts_with('#') || line.starts_with("//")) return std::nullopt;
  for (const char separator : {'=', ':'}) {
    const size_t at = separator == '=' ? line.find('=') : line.rfind(':');
    if (at == std::string_view::npos) continue;
    const std::string_view right = trimmed(line.substr(at + 1));
    const std::string_view number = right.substr(0, right.find_first_of(" \t,;("));
    constexpr std::string_view kOfNumbers = "0123456789abcdefABCDEFxX`hHuUlL";
    if (!number.empty() && number.find_first_not_of(kOfNumbers) == std::string_view::npos)
      return ListLine{trimmed(line.substr(0, at)), number};
  }
  const size_t at = line.find(" 0x");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view right = line.substr(at + 1);
  return ListLine{trimmed(line.substr(0, at)), right.substr(0, right.find_first_of(" \t,;("))};
}

// Takes what is before a comma off `text`; commas in parentheses belong to what they explain.
std::string_view take_pair(std::string_view& text) {
  size_t end = 0;
  for (int depth = 0; end < text.size() && (depth > 0 || text[end] != ','); ++end)
    depth += text[end] == '(' ? 1 : text[end] == ')' ? -1 : 0;
  const std::string_view pair = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return pair;
}

// What logs put before a line is taken off `name`, from the left, until it is one.
std::optional<FieldAccess> find_field_in(std::string_view& name) {
  while (!name.empty()) {
    const bool number = !is_prefixed_hexadecimal(name) && parse_number(name);
    if (const auto access = find_vmcs_field(name); access && !number) return access;
    name = trimmed(name.substr(std::min(name.find_first_of("]:>| "), name.size() - 1) + 1));
  }
  return std::nullopt;
}

// What a list leaves no doubt about: 0x1f, 1fH, fffff804`59c61fb0, and a digit alone.
std::optional<uint64_t> list_number(std::string_view text) {
  while (text.ends_with('L') || text.ends_with('U') || text.ends_with('u')) text.remove_suffix(1);
  if (is_prefixed_hexadecimal(text) || text.size() == 1) return parse_number(text);
  if (text.ends_with('h') || text.ends_with('H'))
    return parse_hexadecimal(text.substr(0, text.size() - 1));
  if (const size_t tick = text.find('`'); tick != std::string_view::npos) {
    std::string joined(text);
    joined.erase(tick, 1);
    return parse_hexadecimal(joined);
  }
  return std::nullopt;
}

class ListReader {
 public:
  std::string error;

  void line(std::string_view text) {
    ++line_;
    while (!text.empty()) pair(take_pair(text));
  }

  std::vector<VmcsDocument> documents() {
    finish();
    return std::move(documents_);
  }

 private:
  void pair(std::string_view text) {
    const auto found = list_line(text);
    if (!found || !error.empty()) return;
    std::string_view name = found->name.substr(found->name.find_last_of("]:>|") + 1);
    if (name.ends_with("VMCS at")) return finish();  // the first line of a dump of Nestor's
    const std::string_view written = trimmed(name);
    const auto access = find_field_in(name);
    if (!access) return fail(unknown_field(written));
    const auto number = list_number(found->number);
    if (!number) {
      return fail(fmt::format("\"{}\": \"{}\" is hexadecimal or decimal? Write 0x before it",
                              shown(name), shown(found->number)));
    }
    const std::pair key{access->field, access->high};
    if (keys_.contains(key)) {
      if (key != first_)
        return fail(
            fmt::format("\"{}\": the value was given before, in line {}", shown(name), keys_[key]));
      finish();
    }
    if (keys_.empty()) first_ = key;
    keys_[key] = line_;
    if (std::string bad = document_.set(*access, *number); !bad.empty())
      fail(fmt::format("\"{}\": {}", shown(name), bad));
  }
  void fail(std::string_view message) { error = fmt::format("line {}: {}", line_, message); }
  void finish() {
    if (!keys_.empty()) {
      document_.partial = true;
      documents_.push_back(std::move(document_));
    }
    document_ = {};
    keys_.clear();
  }

  std::vector<VmcsDocument> documents_;
  VmcsDocument document_;
  std::map<std::pair<Field, bool>, size_t> keys_;  // and their lines
  std::pair<Field, bool> first_;
  size_t line_ = 0;
};

}  // namespace

bool is_haxm_dump(std::string_view text) {
  constexpr int kEnough = 3;  // lines of this form that are no accident
  for (int lines = 0; !text.empty();)
    if (haxm_line(take_line(text)) && ++lines == kEnough) return true;
  return false;
}

VmcsDocuments read_haxm_dump(std::string_view text) {
  std::vector<VmcsDocument> documents(1);
  for (size_t line = 1; !text.empty(); ++line) {
    const auto found = haxm_line(take_line(text));
    if (!found) continue;
    // The first field again; where two processors print at once, other fields come twice.
    const bool again = documents.back().given.contains(found->field);
    if (again && found->field != Field::kPinBasedControls) continue;
    if (again) documents.emplace_back();
    const std::string bad =
        documents.back().set({found->field, false}, *parse_hexadecimal(found->number));
    if (!bad.empty())
      return fmt::format("line {}: {}: {}", line, vmx::info_of(found->field).name, bad);
  }
  for (VmcsDocument& document : documents) {
    document.partial = true;
    document.never.insert(kNeverInHaxm.begin(), kNeverInHaxm.end());
  }
  return documents;
}

bool is_vmcs_list(std::string_view text) {
  while (!text.empty()) {
    const auto found = list_line(take_line(text));
    if (!found) continue;
    std::string_view name = found->name;
    if (find_field_in(name)) return true;
  }
  return false;
}

VmcsDocuments read_vmcs_list(std::string_view text) {
  ListReader reader;
  while (!text.empty()) reader.line(take_line(text));
  if (!reader.error.empty()) return reader.error;
  return reader.documents();
}

}  // namespace nestor::emu
