// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/report/test_lines.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace nestor::emu {
namespace {

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Takes the number from the front, or the largest there is for a larger one; std::nullopt: there is
// none.
std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) number = std::numeric_limits<uint64_t>::max();
  if (error == std::errc::invalid_argument) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

// Whether `text` begins with `word`, which is in lower case, in whatever case.
bool begins_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() &&
         std::ranges::equal(text.substr(0, word.size()), word, {}, to_lower);
}

// --- how a shape's text is read: `before` the word that makes it one, and `after` it

using Reader = TestLine (*)(TestOutcome, std::string_view before, std::string_view after);

struct Directive {
  TapDirective kind = TapDirective::kNone;
  std::string_view why;
};

// Takes "# SKIP why" or "# TODO why" from the end. Another # is part of a name, as in "#GP".
Directive take_directive(std::string_view& text) {
  for (size_t at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
    const TapDirective kind = tap_directive(text.substr(at));
    if (kind == TapDirective::kNone || (at > 0 && text[at - 1] == '\\')) continue;
    const std::string_view rest = trim(text.substr(at + 1));
    text = text.substr(0, at);
    return {kind, trim(rest.substr(std::min(rest.find(' '), rest.size())))};
  }
  return {};
}

// "ok 3 - name # SKIP why"
TestLine read_tap_point(TestOutcome outcome, std::string_view, std::string_view after) {
  if (!after.empty() && after.front() != ' ') return {};
  const Directive directive = take_directive(after);
  after = trim(after);
  std::string_view unnumbered = after;
  if (take_number(unnumbered) && (unnumbered.empty() || unnumbered.front() == ' '))
    after = trim(unnumbered);
  if (after.starts_with('-')) after = trim(after.substr(1));
  if (directive.kind == TapDirective::kSkip) outcome = TestOutcome::kSkipped;
  if (directive.kind == TapDirective::kTodo && outcome == TestOutcome::kFailed)
    outcome = TestOutcome::kExpectedFailure;
  return TestResult{outcome, std::string(after), std::string(directive.why), true};
}

// "1..7", or "1..0 # SKIP why"
TestLine read_tap_plan(TestOutcome, std::string_view, std::string_view after) {
  const auto tests = take_number(after);
  if (!tests) return {};
  const Directive directive = take_directive(after);
  if (!trim(after).empty()) return {};
  if (*tests == 0) {
    return TestResult{TestOutcome::kSkipped, "all tests", std::string(directive.why), false};
  }
  return TestPlan{*tests};
}

TestLine read_abort(TestOutcome, std::string_view, std::string_view after) {
  return TestAbort{std::string(trim(after))};
}

// "SUMMARY: 7 tests, 2 unexpected failures, 1 skipped"
TestLine read_summary(TestOutcome, std::string_view, std::string_view after) {
  TestSummary summary;
  if (!take_number(after) || !after.starts_with(" test")) return {};
  while (!after.empty()) {
    const size_t comma = after.find(", ");
    if (comma == std::string_view::npos) break;
    after.remove_prefix(comma + 2);
    const auto number = take_number(after);
    if (number && after.starts_with(" unexpected failures")) summary.failures = *number;
  }
  return summary;
}

TestLine read_name_after(TestOutcome outcome, std::string_view, std::string_view after) {
  return TestResult{outcome, std::string(trim(after)), {}, false};
}

TestLine read_unexpected_pass(TestOutcome outcome, std::string_view, std::string_view after) {
  return TestResult{outcome, std::string(trim(after)), "passed, and was expected to fail", false};
}

// "name: FAIL", "name: FAIL (2)" or "name: FAIL: why"
TestLine read_name_before(TestOutcome outcome, std::string_view before, std::string_view after) {
  const bool in_parentheses = after.starts_with(" (") && after.ends_with(')');
  const bool after_colon = after.starts_with(": ");
  if (before.empty() || before.front() == ' ') return {};
  if (!after.empty() && !in_parentheses && !after_colon) return {};
  const std::string_view why = in_parentheses ? after.substr(2, after.size() - 3)
                               : after_colon  ? trim(after.substr(2))
                                              : std::string_view();
  return TestResult{outcome, std::string(before), std::string(why), false};
}

// --- the shapes

struct Shape {
  enum class Place : uint8_t { kFront, kBack } place;
  std::string_view word;
  TestOutcome outcome;  // where it reports a test
  Reader read;
};

using enum Shape::Place;
using enum TestOutcome;

constexpr std::array kShapes = {
    // TAP 13 (testanything.org), "The plan", "The test line", "Bail out!"
    Shape{kFront, "1..", kSkipped, read_tap_plan},
    Shape{kFront, "ok", kPassed, read_tap_point},
    Shape{kFront, "not ok", kFailed, read_tap_point},
    Shape{kFront, "Bail out!", kFailed, read_abort},
    // kvm-unit-tests, lib/report.c
    Shape{kFront, "PASS: ", kPassed, read_name_after},
    Shape{kFront, "FAIL: ", kFailed, read_name_after},
    Shape{kFront, "SKIP: ", kSkipped, read_name_after},
    Shape{kFront, "XFAIL: ", kExpectedFailure, read_name_after},
    Shape{kFront, "KFAIL: ", kExpectedFailure, read_name_after},
    Shape{kFront, "XPASS: ", kFailed, read_unexpected_pass},
    Shape{kFront, "ABORT: ", kFailed, read_abort},
    Shape{kFront, "SUMMARY: ", kPassed, read_summary},
    // guest-images/README.md
    Shape{kFront, "skipped: ", kSkipped, read_name_after},
    Shape{kBack, ": PASS", kPassed, read_name_before},
    Shape{kBack, ": FAIL", kFailed, read_name_before},
    Shape{kBack, ": SKIP", kSkipped, read_name_before},
};

// --- characters

// The bytes of the character that `text` begins with, and whether XML 1.0 ("Characters") has it; 0:
// it begins with none. Overlong forms and surrogates are none (RFC 3629, "Syntax of UTF-8 Byte
// Sequences").
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return 0;
  uint32_t code = first & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  const bool no_character = (code & 0xfffe) == 0xfffe;
  return code < kLeast[bytes] || surrogate || no_character || code > 0x10ffff ? 0 : bytes;
}

// Of the sequence that `text` begins with: ESC, bytes in between and a last one (ECMA-35, "Escape
// sequences"; ECMA-48, "Control sequences"), or of what there is of it.
size_t escape_bytes(std::string_view text) {
  const bool control = text.size() > 1 && text[1] == '[';
  const char last_between = control ? 0x3f : 0x2f, first_final = control ? 0x40 : 0x30;
  size_t end = control ? 2 : 1;
  while (end < text.size() && text[end] >= 0x20 && text[end] <= last_between) ++end;
  return end < text.size() && text[end] >= first_final && text[end] <= 0x7e ? end + 1 : end;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<uint8_t>(character[0]);
  const bool c1 =
      character.size() == 2 && first == 0xc2 && static_cast<uint8_t>(character[1]) < 0xa0;
  return first < 0x20 || first == 0x7f || c1;
}

}  // namespace

TapDirective tap_directive(std::string_view text) {
  if (!text.starts_with('#')) return TapDirective::kNone;
  const std::string_view word = trim(text.substr(1));
  if (begins_with_word(word, "skip")) return TapDirective::kSkip;
  return begins_with_word(word, "todo") ? TapDirective::kTodo : TapDirective::kNone;
}

TestLine read_test_line(std::string_view line) {
  for (const Shape& shape : kShapes) {
    if (shape.place == kFront && !line.starts_with(shape.word)) continue;
    const size_t at = shape.place == kFront ? 0 : line.rfind(shape.word);
    if (at == std::string_view::npos) continue;
    TestLine read =
        shape.read(shape.outcome, line.substr(0, at), line.substr(at + shape.word.size()));
    if (!std::holds_alternative<std::monostate>(read)) return read;
  }
  return {};
}

std::string plain_text(std::string_view raw) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string text;
  text.reserve(raw.size());
  while (!raw.empty()) {
    size_t bytes = raw[0] == '\x1b' ? escape_bytes(raw) : character_bytes(raw);
    const std::string_view character = raw.substr(0, std::max<size_t>(bytes, 1));
    if (bytes == 0) {
      text += kReplacement;
    } else if (raw[0] == '\t') {
      text += ' ';
    } else if (!is_control(character)) {
      text += character;
    }
    raw.remove_prefix(character.size());
  }
  return text;
}

std::string_view cut_text(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<uint8_t>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace nestor::emu
