// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/report/test_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace nestor::emu {

void TestReport::attach(const Clock& clock, const uint64_t& /*instructions*/) {
  clock_ = &clock;
  since_ = clock.cycles();
}

void TestReport::put(Stream stream, uint8_t byte) {
  std::string& line = lines_[static_cast<size_t>(stream)];
  if (byte == '\n' || byte == '\r') {
    end_line(line);
  } else if (line.size() < kLongestLine) {
    line += static_cast<char>(byte);
  }
}

void TestReport::end_line(std::string& raw) {
  if (raw.empty()) return;
  const std::string text = plain_text(std::exchange(raw, {}));
  TestLine line = read_test_line(text);
  if (std::holds_alternative<std::monostate>(line)) return remember(text);
  explaining_.reset();
  std::visit([this](auto&& one) { take(std::forward<decltype(one)>(one)); }, std::move(line));
}

void TestReport::remember(std::string_view text) {
  const std::string_view kept = cut_text(text, kRecentBytes);
  const bool explains = text.starts_with('#') || text.starts_with(' ');
  if (explaining_ && explains && text_ + kept.size() < most_text_) {
    tests_[*explaining_].detail += fmt::format("{}\n", kept);
    text_ += kept.size() + 1;
    return;
  }
  explaining_.reset();
  recent_.emplace_back(kept);
  if (recent_.size() > kRecentLines) recent_.pop_front();
}

std::string TestReport::take_recent() {
  std::string lines;
  for (const std::string& line : std::exchange(recent_, {})) lines += line + '\n';
  return lines;
}

void TestReport::take(TestResult result) {
  const bool failed = result.outcome == TestOutcome::kFailed;
  if (result.is_tap) ++tap_points_;
  if (!result.is_tap && failed) ++failed_lines_;
  std::string lines = take_recent();
  const size_t before = tests_.size();
  add({result.outcome, std::move(result.name), std::move(result.why), failed ? lines : "", {}});
  if (failed && result.is_tap && tests_.size() != before) explaining_ = before;
}

void TestReport::take(const TestPlan& plan) {
  constexpr uint64_t kMost = 1ull << 32;  // so that no sum overflows
  planned_ = std::min(planned_.value_or(0) + std::min(plan.tests, kMost), kMost);
}

// There are tests without a line, so that only the failures can be compared.
void TestReport::take(const TestSummary& summary) {
  if (summary.failures > failed_lines_) {
    add({TestOutcome::kFailed,
         "summary",
         fmt::format("the guest counts {} unexpected failures, and printed {}", summary.failures,
                     failed_lines_),
         "",
         {}});
  }
  failed_lines_ = 0;
}

void TestReport::take(const TestAbort& abort) {
  add({TestOutcome::kFailed, "the guest gave up", abort.why, take_recent(), {}});
}

void TestReport::add(Test test) {
  if (clock_ != nullptr) {
    const uint64_t now = clock_->cycles();
    test.cycles = now - std::exchange(since_, now);
  }
  const size_t text = sizeof test + test.name.size() + test.why.size() + test.detail.size();
  if (unlisted_ != 0 || text_ + text > most_text_) {
    ++unlisted_;
    unlisted_failures_ += test.outcome == TestOutcome::kFailed;
    return;
  }
  text_ += text;
  tests_.push_back(std::move(test));
}

void TestReport::finish(const RunVerdict& verdict) {
  for (std::string& line : lines_) end_line(line);
  const bool reported = !tests_.empty() || unlisted_ != 0;
  const auto conclude = [this](TestOutcome outcome, std::string name, std::string why,
                               std::string detail) {
    tests_.push_back({outcome, std::move(name), std::move(why), std::move(detail), {}});
  };
  if (unlisted_ != 0) {
    conclude(unlisted_failures_ != 0 ? TestOutcome::kFailed : TestOutcome::kSkipped,
             "tests that are not listed",
             fmt::format("{} more tests, of which {} failed: the report is full", unlisted_,
                         unlisted_failures_),
             "");
  }
  if (planned_ && *planned_ != tap_points_) {
    conclude(TestOutcome::kFailed, "plan",
             fmt::format("the guest planned {} tests, and reported {}", *planned_, tap_points_),
             "");
  }
  if (!reported && verdict.outcome != TestOutcome::kSkipped) {
    conclude(TestOutcome::kFailed, "tests", "no line of the guest's output reports a test",
             verdict.outcome == TestOutcome::kPassed ? take_recent() : "");
  }
  if (verdict.outcome != TestOutcome::kPassed) {
    conclude(verdict.outcome, "end of the run", verdict.why, take_recent() + verdict.detail);
  }
}

uint64_t TestReport::count(TestOutcome outcome) const {
  return static_cast<uint64_t>(std::ranges::count(tests_, outcome, &Test::outcome));
}

}  // namespace nestor::emu
