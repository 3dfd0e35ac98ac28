// SPDX-License-Identifier: GPL-2.0-or-later
//
// Collects the tests that a guest reports in what it writes, for the tools that show such results.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/events/events.h"
#include "emu/events/moment.h"
#include "emu/observe/report/test_lines.h"

namespace nestor::emu {

// How the run ended, as a test.
struct RunVerdict {
  TestOutcome outcome = TestOutcome::kPassed;
  std::string why;     // one line
  std::string detail;  // lines; may be empty
};

class TestReport final : public MachineEventSink {
 public:
  using Stream = MomentWatch::Stream;

  struct Test {
    TestOutcome outcome = TestOutcome::kPassed;
    std::string name;     // several tests may have the same
    std::string why;      // one line; may be empty
    std::string detail;   // of a test that failed: lines of the output around it
    uint64_t cycles = 0;  // of the clock, since the test before
  };

  // `most_text`: bytes of all that is kept. The tests after that are counted alone.
  explicit TestReport(size_t most_text = kMostText) : most_text_(most_text) {}

  // The cycles of the first test count from here.
  void attach(const Clock& clock, const uint64_t& instructions) override;
  // A byte of the guest's output. Lines of several streams may come in turns.
  void put(Stream stream, uint8_t byte);
  // Once, after the last byte: adds a test for each thing that is wrong with the run as a whole.
  void finish(const RunVerdict& verdict);

  const std::vector<Test>& tests() const { return tests_; }
  // Of tests().
  uint64_t count(TestOutcome outcome) const;

 private:
  static constexpr size_t kMostText = 64 << 20;
  static constexpr size_t kLongestLine = 4096;  // what is longer is cut off
  static constexpr size_t kRecentLines = 20, kRecentBytes = 256;

  void end_line(std::string& raw);
  void take(TestResult result);
  void take(const TestPlan& plan);
  void take(const TestSummary& summary);
  void take(const TestAbort& abort);
  void take(std::monostate) {}
  // Of a line that reports nothing.
  void remember(std::string_view text);
  void add(Test test);
  // The lines since the last test, which are forgotten.
  std::string take_recent();

  const size_t most_text_;
  size_t text_ = 0;  // bytes that are kept
  const Clock* clock_ = nullptr;
  uint64_t since_ = 0;                // cycles
  std::array<std::string, 4> lines_;  // of each stream: what there is of its line
  std::deque<std::string> recent_;    // lines since the last test
  std::optional<size_t> explaining_;  // the test that lines of TAP diagnostics belong to
  std::vector<Test> tests_;
  uint64_t unlisted_ = 0, unlisted_failures_ = 0;
  std::optional<uint64_t> planned_;  // of TAP
  uint64_t tap_points_ = 0;
  uint64_t failed_lines_ = 0;  // of kvm-unit-tests, since its last summary
};

enum class ReportFormat : uint8_t { kTap, kJunit };

// The report as a file; `suite` names what was run. TAP: version 13. The same report gives the same
// bytes.
[[nodiscard]] std::string write_report(const TestReport& report, ReportFormat format,
                                       std::string_view suite);

}  // namespace nestor::emu
