// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/report/test_lines.h"

#include <gtest/gtest.h>

#include <variant>

namespace nestor::emu {
namespace {

// A line as one word and its texts, so that expectations are short.
std::string read(std::string_view line) {
  struct Text {
    std::string operator()(std::monostate) { return "none"; }
    std::string operator()(const TestResult& test) {
      constexpr const char* kOutcomes[] = {"passed", "failed", "skipped", "expected"};
      return std::string(kOutcomes[static_cast<size_t>(test.outcome)]) + "|" + test.name + "|" +
             test.why;
    }
    std::string operator()(const TestPlan& plan) { return "plan " + std::to_string(plan.tests); }
    std::string operator()(const TestSummary& summary) {
      return "summary " + std::to_string(summary.failures);
    }
    std::string operator()(const TestAbort& abort) { return "abort " + abort.why; }
  };
  return std::visit(Text{}, read_test_line(line));
}

TEST(TestLines, Tap) {
  EXPECT_EQ(read("ok 1 - name"), "passed|name|");
  EXPECT_EQ(read("ok"), "passed||");
  EXPECT_EQ(read("ok 12"), "passed||");
  EXPECT_EQ(read("ok   some name: and more"), "passed|some name: and more|");
  EXPECT_EQ(read("ok 1 2nd try"), "passed|2nd try|");
  EXPECT_EQ(read("ok 2nd try"), "passed|2nd try|");
  EXPECT_EQ(read("not ok 3 - #GP in L2"), "failed|#GP in L2|");
  EXPECT_EQ(read("ok 4 - name # SKIP no VMX"), "skipped|name|no VMX");
  EXPECT_EQ(read("ok 4 # skipped: no VMX"), "skipped||no VMX");
  EXPECT_EQ(read("not ok 5 - name # TODO later"), "expected|name|later");
  EXPECT_EQ(read("ok 5 - name # todo"), "passed|name|");
  EXPECT_EQ(read("ok 6 - \\# SKIP is its name"), "passed|\\# SKIP is its name|");
  EXPECT_EQ(read("1..7"), "plan 7");
  EXPECT_EQ(read("1..0 # SKIP no VMX"), "skipped|all tests|no VMX");
  EXPECT_EQ(read("Bail out! no memory"), "abort no memory");
}

TEST(TestLines, KvmUnitTests) {
  EXPECT_EQ(read("PASS: vmx: VMXON: first"), "passed|vmx: VMXON: first|");
  EXPECT_EQ(read("FAIL: name"), "failed|name|");
  EXPECT_EQ(read("SKIP: name"), "skipped|name|");
  EXPECT_EQ(read("XFAIL: name"), "expected|name|");
  EXPECT_EQ(read("KFAIL: name"), "expected|name|");
  EXPECT_EQ(read("XPASS: name"), "failed|name|passed, and was expected to fail");
  EXPECT_EQ(read("ABORT: name"), "abort name");
  EXPECT_EQ(read("SUMMARY: 3 tests"), "summary 0");
  EXPECT_EQ(read("SUMMARY: 3 tests, 2 unexpected failures, 1 skipped"), "summary 2");
  EXPECT_EQ(read("SUMMARY: 3 tests, 1 expected failures, 1 skipped"), "summary 0");
}

TEST(TestLines, Images) {
  EXPECT_EQ(read("hello-vmx: PASS"), "passed|hello-vmx|");
  EXPECT_EQ(read("hello-vmx: FAIL"), "failed|hello-vmx|");
  EXPECT_EQ(read("hello-vmx: FAIL (3)"), "failed|hello-vmx|3");
  EXPECT_EQ(read("handle-exits: FAIL: nobody handles CPUID"),
            "failed|handle-exits|nobody handles CPUID");
  EXPECT_EQ(read("skipped: case: why"), "skipped|case: why|");
}

TEST(TestLines, OtherLines) {
  for (const char* line :
       {"", "okay", "ok, next", "not okay", "1..", "1..x", "1..3 apples", "  ok 1 - of a subtest",
        "  FAIL: indented", "PASS", "FAIL:", ": PASS", "a: PASSED", "a: FAIL 3", "SUMMARY: all",
        "PASS apic (53 tests)", "# ok 1", "TAP version 13"}) {
    EXPECT_EQ(read(line), "none") << line;
  }
}

TEST(TestLines, PlainText) {
  EXPECT_EQ(plain_text("a\tb\x01\x7f"), "a b");
  EXPECT_EQ(plain_text("\x1b[31;1mFAIL\x1b[0m: x"), "FAIL: x");
  EXPECT_EQ(plain_text("\x1b(B\x1b[mFAIL: x"), "FAIL: x");
  EXPECT_EQ(plain_text("\x1b[31mFAIL\x1b(B\x1b[m: x\x1b"
                       "c"),
            "FAIL: x");
  EXPECT_EQ(plain_text("\x1b"), "");
  EXPECT_EQ(plain_text("\x1b[12"), "");
  EXPECT_EQ(plain_text("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  const std::string replacement = "\xef\xbf\xbd";
  EXPECT_EQ(plain_text("\xe4"), replacement);                           // Latin-1
  EXPECT_EQ(plain_text("\xc0\x80"), replacement + replacement);         // overlong
  EXPECT_EQ(plain_text("\xed\xa0\x80").substr(0, 3), replacement);      // a surrogate
  EXPECT_EQ(plain_text("\xef\xbf\xbf").substr(0, 3), replacement);      // U+FFFF
  EXPECT_EQ(plain_text("\xf4\x90\x80\x80").substr(0, 3), replacement);  // above U+10FFFF
  EXPECT_EQ(plain_text("\xc2\x85!"), "!");                              // a C1 control
  EXPECT_EQ(plain_text(std::string_view("\0a", 2)), "a");
}

TEST(TestLines, TextIsCutBetweenCharacters) {
  EXPECT_EQ(cut_text("abc", 3), "abc");
  EXPECT_EQ(cut_text("abc", 2), "ab");
  EXPECT_EQ(cut_text("a\xe2\x82\xac", 3), "a");
  EXPECT_EQ(cut_text("a\xe2\x82\xac", 4), "a\xe2\x82\xac");
}

}  // namespace
}  // namespace nestor::emu
