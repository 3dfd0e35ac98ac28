// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/images/expected_exits.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "vmx/exit_reasons.h"

namespace nestor::tests {
namespace {

constexpr std::array<std::string_view, 4> kEvents = {"entry", "exit", "failed-entry",
                                                     "failed-instruction"};
constexpr std::array<std::string_view, 6> kKeys = {"qualification",      "gpa",   "gla",
                                                   "instruction-length", "error", "case"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// "0x1f" or "12".
std::optional<uint64_t> number(std::string_view text) {
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_value(std::string_view key, std::string_view value) {
  if (key == "case") return !value.empty();
  if (key == "error" && value == "none") return true;
  const char separator = key == "qualification" ? '/' : key == "error" ? ',' : '\0';
  const auto parts = split(value, separator);
  if (key == "qualification" && parts.size() > 2) return false;
  return std::ranges::all_of(parts, [](auto part) { return number(part).has_value(); });
}

std::string hex(uint64_t value) {
  std::array<char, 18> digits{'0', 'x'};
  const auto end = std::to_chars(digits.data() + 2, digits.data() + digits.size(), value, 16).ptr;
  return {digits.data(), end};
}

bool value_matches(std::string_view key, std::string_view wanted, const ActualEvent& actual) {
  if (key == "case") return true;
  if (key == "error") {
    if (wanted == "none") return actual.error == 0;
    return std::ranges::any_of(split(wanted, ','),
                               [&](auto error) { return number(error) == actual.error; });
  }
  if (key == "qualification") {
    const auto parts = split(wanted, '/');
    const uint64_t mask = parts.size() == 2 ? *number(parts[1]) : ~uint64_t{0};
    return actual.qualification && (*actual.qualification & mask) == *number(parts[0]);
  }
  const std::optional<uint64_t>& value = key == "gpa"   ? actual.gpa
                                         : key == "gla" ? actual.gla
                                                        : actual.instruction_length;
  return value == number(wanted);
}

bool matches(const ExpectedEvent& expected, const ActualEvent& actual) {
  return expected.event == actual.event && expected.name == actual.name &&
         std::ranges::all_of(expected.data, [&](const auto& item) {
           return value_matches(item.first, item.second, actual);
         });
}

std::string describe(const ExpectedEvent& expected) {
  std::string text = expected.event + " " + expected.name;
  for (const auto& [key, value] : expected.data) text += " " + key + "=" + value;
  return text;
}

std::string describe(const ActualEvent& actual) {
  std::string text = actual.event + " " + actual.name;
  if (actual.qualification) text += " qualification=" + hex(*actual.qualification);
  if (actual.gpa) text += " gpa=" + hex(*actual.gpa);
  if (actual.gla) text += " gla=" + hex(*actual.gla);
  if (actual.instruction_length) {
    text += " instruction-length=" + std::to_string(*actual.instruction_length);
  }
  if (actual.event == "failed-instruction") text += " error=" + std::to_string(actual.error);
  return text;
}

// The value of a field, which is a number or a string of hexadecimal digits.
std::optional<uint64_t> field(const nlohmann::json& event, const char* key) {
  const auto found = event.find(key);
  if (found == event.end()) return std::nullopt;
  if (found->is_string()) return number(found->get<std::string>());
  return found->get<uint64_t>();
}

}  // namespace

std::variant<std::vector<ExpectedEvent>, std::string> parse_expected(std::string_view text) {
  std::vector<ExpectedEvent> events;
  unsigned line_number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    const auto wrong = [&](std::string_view what) {
      return "line " + std::to_string(line_number) + ": " + std::string(what);
    };
    ExpectedEvent event;
    event.line = line_number;
    const auto words = split(line, ' ');
    event.event = words[0];
    if (!contains(kEvents, event.event)) return wrong("no such event: " + event.event);
    size_t i = 1;
    for (; i < words.size() && words[i].find('=') == words[i].npos; ++i) {
      if (i != 1) event.name += ' ';
      event.name += words[i];
    }
    if (event.name.empty()) return wrong("the name is missing");
    for (; i < words.size(); ++i) {
      const size_t equals = words[i].find('=');
      const auto key = words[i].substr(0, equals);
      if (equals == words[i].npos || !contains(kKeys, key)) {
        return wrong("no such key: " + std::string(key));
      }
      const auto value = words[i].substr(equals + 1);
      if (!is_value(key, value)) return wrong("a bad value: " + std::string(words[i]));
      if (!event.data.emplace(key, value).second) return wrong("twice: " + std::string(key));
    }
    events.push_back(std::move(event));
  }
  return events;
}

std::set<std::string, std::less<>> skipped_cases(std::string_view output) {
  constexpr std::string_view kStart = "skipped: ";
  std::set<std::string, std::less<>> cases;
  for (std::string_view line : split(output, '\n')) {
    if (!line.starts_with(kStart)) continue;
    line.remove_prefix(kStart.size());
    cases.emplace(line.substr(0, line.find(':')));
  }
  return cases;
}

std::vector<ActualEvent> events_of_trace(std::string_view json_lines) {
  std::vector<ActualEvent> events;
  for (const std::string_view line : split(json_lines, '\n')) {
    if (line.empty()) continue;
    const nlohmann::json record = nlohmann::json::parse(line);
    const std::string kind = record.at("event");
    ActualEvent event;
    if (kind == "vm-entry") {
      event.event = "entry";
      event.name = record.at("instruction");
    } else if (kind == "vm-exit") {
      const auto reason = static_cast<uint32_t>(*field(record, "reason_field"));
      event.event = (reason & vmx::kExitReasonEntryFailure) != 0 ? "failed-entry" : "exit";
      event.name = record.at("reason");
      event.qualification = field(record, "qualification");
      event.gpa = field(record, "guest_physical");
      event.gla = field(record, "guest_linear");
      event.instruction_length = field(record, "instruction_length");
    } else if (kind == "vm-instruction-error") {
      event.event = "failed-instruction";
      event.name = record.at("instruction");
      // Other VMX instructions than those that enter a guest are not part of the sequence.
      if (event.name != "VMLAUNCH" && event.name != "VMRESUME") continue;
      event.error = field(record, "error").value_or(0);
    } else {
      continue;
    }
    // A line stands for `count` equal events.
    events.insert(events.end(), record.value("count", size_t{1}), event);
  }
  return events;
}

std::optional<std::string> first_difference(const std::vector<ExpectedEvent>& expected,
                                            const std::set<std::string, std::less<>>& skipped,
                                            const std::vector<ActualEvent>& actual) {
  auto next = actual.begin();
  for (const ExpectedEvent& event : expected) {
    const auto named = event.data.find("case");
    if (named != event.data.end() && skipped.contains(named->second)) continue;
    const std::string where = "line " + std::to_string(event.line) + ": ";
    if (next == actual.end()) return where + "expected " + describe(event) + ", but the run ended";
    if (!matches(event, *next)) {
      return where + "expected " + describe(event) + ", got " + describe(*next);
    }
    ++next;
  }
  if (next != actual.end()) return "after the last line: got " + describe(*next);
  return std::nullopt;
}

}  // namespace nestor::tests
