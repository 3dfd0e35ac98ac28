// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sequence of VM entries and VM exits that an image must produce, and what a run produced.
// guest-images/README.md, "Expected exits", describes the file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nestor::tests {

struct ExpectedEvent {
  unsigned line = 0;  // in the file, from 1
  std::string event;  // "entry", "exit", "failed-entry", "failed-instruction"
  std::string name;
  std::map<std::string, std::string, std::less<>> data;
};

struct ActualEvent {
  std::string event, name;
  std::optional<uint64_t> qualification, gpa, gla, instruction_length;
  uint64_t error = 0;  // failed-instruction: 0 is VMfailInvalid
};

// The lines of an expected-exits.txt; a string says what is wrong with it.
std::variant<std::vector<ExpectedEvent>, std::string> parse_expected(std::string_view text);

// The cases that an image's output says it skipped.
std::set<std::string, std::less<>> skipped_cases(std::string_view output);

// The events of a trace in JSON lines that an expectation can name.
std::vector<ActualEvent> events_of_trace(std::string_view json_lines);

// std::nullopt: exactly what was expected. Otherwise the first difference.
std::optional<std::string> first_difference(const std::vector<ExpectedEvent>& expected,
                                            const std::set<std::string, std::less<>>& skipped,
                                            const std::vector<ActualEvent>& actual);

}  // namespace nestor::tests
