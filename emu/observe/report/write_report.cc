// SPDX-License-Identifier: GPL-2.0-or-later
//
// The formats of reports.
#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "emu/observe/report/test_report.h"

namespace nestor::emu {
namespace {

using Test = TestReport::Test;

std::string_view name_of(const Test& test) {
  return test.name.empty() ? std::string_view("(no name)") : test.name;
}

// --- TAP 13

// What is part of a name is no directive; TAP 13, "Directives".
std::string tap_text(std::string_view text) {
  std::string escaped;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#' && tap_directive(text.substr(i)) != TapDirective::kNone) escaped += '\\';
    escaped += text[i];
  }
  return escaped;
}

std::string write_tap(const TestReport& report) {
  std::string text = fmt::format("TAP version 13\n1..{}\n", report.tests().size());
  uint64_t number = 0;
  for (const Test& test : report.tests()) {
    const bool failed =
        test.outcome == TestOutcome::kFailed || test.outcome == TestOutcome::kExpectedFailure;
    const std::string_view directive = test.outcome == TestOutcome::kSkipped           ? " # SKIP"
                                       : test.outcome == TestOutcome::kExpectedFailure ? " # TODO"
                                                                                       : "";
    const std::string_view space = directive.empty() || test.why.empty() ? "" : " ";
    fmt::format_to(std::back_inserter(text), "{} {} - {}{}{}{}\n", failed ? "not ok" : "ok",
                   ++number, tap_text(name_of(test)), directive, space,
                   directive.empty() ? "" : std::string_view(test.why));
    if (directive.empty() && !test.why.empty()) text += fmt::format("# {}\n", test.why);
    for (std::string_view rest = test.detail; !rest.empty();) {
      const size_t end = rest.find('\n');
      text += fmt::format("# {}\n", rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
  }
  return text;
}

// --- JUnit

std::string xml_text(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

// Exact: a cycle is half a nanosecond.
std::string seconds(uint64_t cycles) {
  static_assert(Clock::kFrequency == 2'000'000'000);
  return fmt::format("{}.{:09}", cycles / Clock::kFrequency, cycles % Clock::kFrequency / 2);
}

// A name of its own for each test: tools take two tests of one name for one.
class UniqueNames {
 public:
  std::string make(std::string_view name) {
    std::string unique(name);
    while (++uses_[unique] != 1) unique = fmt::format("{} ({})", name, next(name));
    return unique;
  }

 private:
  uint64_t next(std::string_view name) {
    return ++numbers_.try_emplace(std::string(name), 1).first->second;
  }

  std::unordered_map<std::string, uint64_t> uses_, numbers_;
};

std::string write_junit(const TestReport& report, std::string_view suite) {
  const std::string suite_name = xml_text(plain_text(suite));
  uint64_t cycles = 0;
  for (const Test& test : report.tests()) cycles += test.cycles;
  const std::string figures = fmt::format(
      "name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\"",
      suite_name, report.tests().size(), report.count(TestOutcome::kFailed),
      report.count(TestOutcome::kSkipped) + report.count(TestOutcome::kExpectedFailure),
      seconds(cycles));
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {0}>\n<testsuite {0}>\n", figures);
  UniqueNames names;
  for (const Test& test : report.tests()) {
    fmt::format_to(std::back_inserter(text), "<testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
                   suite_name, xml_text(names.make(name_of(test))), seconds(test.cycles));
    switch (test.outcome) {
      case TestOutcome::kPassed:
        text += "/>\n";
        break;
      case TestOutcome::kFailed:
        text += fmt::format("><failure message=\"{}\">{}</failure></testcase>\n",
                            xml_text(test.why.empty() ? name_of(test) : test.why),
                            xml_text(test.detail));
        break;
      case TestOutcome::kSkipped:
        text += fmt::format("><skipped message=\"{}\"/></testcase>\n", xml_text(test.why));
        break;
      case TestOutcome::kExpectedFailure:
        text += fmt::format("><skipped message=\"expected failure{}{}\"/></testcase>\n",
                            test.why.empty() ? "" : ": ", xml_text(test.why));
        break;
    }
  }
  return text + "</testsuite>\n</testsuites>\n";
}

}  // namespace

std::string write_report(const TestReport& report, ReportFormat format, std::string_view suite) {
  return format == ReportFormat::kTap ? write_tap(report) : write_junit(report, suite);
}

}  // namespace nestor::emu
