// SPDX-License-Identifier: GPL-2.0-or-later
//
// The lines by which guests report tests, in the forms that docs/ci.md lists.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace nestor::emu {

enum class TestOutcome : uint8_t {
  kPassed,
  kFailed,
  kSkipped,
  kExpectedFailure,  // failed, as its author knows
};

struct TestResult {
  TestOutcome outcome = TestOutcome::kPassed;
  std::string name;  // may be empty
  std::string why;   // why it was skipped, say; may be empty
  bool is_tap = false;
};

// TAP: so many tests there are.
struct TestPlan {
  uint64_t tests = 0;
};

// kvm-unit-tests' last line: so many tests failed.
struct TestSummary {
  uint64_t failures = 0;
};

// The guest has given up.
struct TestAbort {
  std::string why;
};

// std::monostate: the line reports nothing.
using TestLine = std::variant<std::monostate, TestResult, TestPlan, TestSummary, TestAbort>;

// `line` is plain text, without its end.
[[nodiscard]] TestLine read_test_line(std::string_view line);

enum class TapDirective : uint8_t { kNone, kSkip, kTodo };
// What "# SKIP" or "# TODO", in whatever case, at the front of `text` is.
[[nodiscard]] TapDirective tap_directive(std::string_view text);

// A line as a guest has written it, as UTF-8 that XML 1.0 allows: without control characters
// (tabulators become blanks) and ANSI control sequences, with U+FFFD where it is no UTF-8.
[[nodiscard]] std::string plain_text(std::string_view raw);

// The longest beginning of `text`, which is UTF-8, of at most `bytes` that ends with a character.
[[nodiscard]] std::string_view cut_text(std::string_view text, size_t bytes);

}  // namespace nestor::emu
