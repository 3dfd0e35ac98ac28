// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/report/test_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <string>
#include <string_view>

namespace nestor::emu {
namespace {

using testing::HasSubstr;
using testing::Not;

class TestReports : public testing::Test {
 protected:
  TestReports() { report_.attach(clock_, instructions_); }
  void print(std::string_view text, TestReport::Stream stream = TestReport::Stream::kSerial) {
    for (const char c : text) report_.put(stream, static_cast<uint8_t>(c));
  }
  std::string written(ReportFormat format) { return write_report(report_, format, "image"); }
  std::string junit() { return written(ReportFormat::kJunit); }
  std::string tap() { return written(ReportFormat::kTap); }

  Clock clock_;
  uint64_t instructions_ = 0;
  TestReport report_;
};

TEST_F(TestReports, JunitHasOutcomesAndVirtualTimes) {
  clock_.charge(1'000'000'001);
  print("PASS: one\r\n");
  clock_.charge(3'000'000'000);
  print("now two\nFAIL: two\nSKIP: three\nXFAIL: four\n");
  report_.finish({});
  EXPECT_EQ(junit(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuites name=\"image\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"2\" "
            "time=\"2.000000000\">\n"
            "<testsuite name=\"image\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"2\" "
            "time=\"2.000000000\">\n"
            "<testcase classname=\"image\" name=\"one\" time=\"0.500000000\"/>\n"
            "<testcase classname=\"image\" name=\"two\" time=\"1.500000000\">"
            "<failure message=\"two\">now two\n</failure></testcase>\n"
            "<testcase classname=\"image\" name=\"three\" time=\"0.000000000\">"
            "<skipped message=\"\"/></testcase>\n"
            "<testcase classname=\"image\" name=\"four\" time=\"0.000000000\">"
            "<skipped message=\"expected failure\"/></testcase>\n"
            "</testsuite>\n</testsuites>\n");
}

TEST_F(TestReports, Tap) {
  print(
      "1..4\nok 1 - one\nnoise\nnot ok 2 - two\n# got 3\n  ---\n  at: 0x10\nok 3 - three # SKIP no "
      "EPT\nnot ok 4 - four # TODO later\n");
  report_.finish({});
  EXPECT_EQ(
      tap(),
      "TAP version 13\n1..4\nok 1 - one\nnot ok 2 - two\n# noise\n# # got 3\n#   ---\n#   at: "
      "0x10\nok 3 - three # SKIP no EPT\nnot ok 4 - four # TODO later\n");
}

TEST_F(TestReports, ATapReportIsReadAsItWasWritten) {
  print("ok 1 - a\nPASS: b # skip is part of its name\nimage: FAIL (2)\nSKIP: #GP\n");
  report_.finish({});
  TestReport again;
  for (const char c : tap()) again.put(TestReport::Stream::kSerial, static_cast<uint8_t>(c));
  again.finish({});
  ASSERT_EQ(again.tests().size(), 4u);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(again.tests()[i].outcome, report_.tests()[i].outcome) << i;
  EXPECT_EQ(again.tests()[1].name, "b \\# skip is part of its name");
  EXPECT_EQ(again.tests()[3].name, "#GP");
}

TEST_F(TestReports, StreamsAreReadApart) {
  print("ok 1");
  print("not ok 2 - two\n", TestReport::Stream::kConsole);
  print(" - one");
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 2u);
  EXPECT_EQ(report_.tests()[0].name, "two");
  EXPECT_EQ(report_.tests()[1].name, "one");  // the last line needs no end
}

TEST_F(TestReports, ABadEndIsATest) {
  print("ok 1\nsome last words\n");
  report_.finish({TestOutcome::kFailed, "a <triple> fault", "processor 0: L1\n"});
  EXPECT_THAT(junit(),
              HasSubstr("name=\"end of the run\" time=\"0.000000000\"><failure message=\"a "
                        "&lt;triple&gt; fault\">some last words\nprocessor 0: L1\n<"));
  EXPECT_THAT(tap(),
              HasSubstr("not ok 2 - end of the run\n# a <triple> fault\n# some last words\n"));
}

TEST_F(TestReports, AGoodEndIsNone) {
  print("ok 1\n");
  report_.finish({});
  EXPECT_EQ(report_.tests().size(), 1u);
}

TEST_F(TestReports, NoTestIsAFailure) {
  print("hello\n");
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 1u);
  EXPECT_EQ(report_.tests()[0].outcome, TestOutcome::kFailed);
  EXPECT_EQ(report_.tests()[0].why, "no line of the guest's output reports a test");
}

TEST_F(TestReports, AllSkippedIsNoFailure) {
  report_.finish({TestOutcome::kSkipped, "exit status 77", ""});
  EXPECT_EQ(report_.count(TestOutcome::kFailed), 0u);
  EXPECT_EQ(report_.count(TestOutcome::kSkipped), 1u);
}

TEST_F(TestReports, PlansAddUp) {
  print("1..2\nok 1\nok 2\n1..2\nok 1\n");
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 4u);
  EXPECT_EQ(report_.tests()[3].name, "plan");
  EXPECT_EQ(report_.tests()[3].why, "the guest planned 4 tests, and reported 3");
}

TEST_F(TestReports, APlanThatIsKeptIsNoTest) {
  print("ok 1\nPASS: no TAP\n1..1\n");
  report_.finish({});
  EXPECT_EQ(report_.tests().size(), 2u);
}

TEST_F(TestReports, ASummaryWithMoreFailures) {
  print(
      "FAIL: a\nSUMMARY: 9 tests, 1 unexpected failures\nSUMMARY: 2 tests, 2 unexpected "
      "failures\n");
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 2u);
  EXPECT_EQ(report_.tests()[1].why, "the guest counts 2 unexpected failures, and printed 0");
}

TEST_F(TestReports, AGuestThatGivesUp) {
  print("last words\nBail out! no memory\n");
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 1u);
  EXPECT_EQ(report_.tests()[0].why, "no memory");
  EXPECT_EQ(report_.tests()[0].detail, "last words\n");
}

TEST_F(TestReports, NamesAreEscapedAndUnique) {
  print("PASS: <a> & \"b\"\nPASS: x\nPASS: x (2)\nPASS: x\nPASS: x\nok\nok\n");
  print("PASS: \x1b[1m\x01\xff\n");
  report_.finish({});
  const std::string text = junit();
  for (const char* name : {"&lt;a&gt; &amp; &quot;b&quot;", "x", "x (2)", "x (3)", "x (4)",
                           "(no name)", "(no name) (2)", "\xef\xbf\xbd"}) {
    const std::string attribute = std::string(" name=\"") + name + "\" time";
    const size_t first = text.find(attribute);
    ASSERT_NE(first, std::string::npos) << name;
    EXPECT_EQ(text.find(attribute, first + 1), std::string::npos) << name;
  }
}

TEST_F(TestReports, ALongLineIsCut) {
  print("ok 1 - " + std::string(1 << 20, 'x') + "\nok 2 - short\n" + std::string(1 << 20, 'y'));
  report_.finish({});
  ASSERT_EQ(report_.tests().size(), 2u);
  EXPECT_EQ(report_.tests()[0].name, std::string(4096 - 7, 'x'));
  EXPECT_EQ(report_.tests()[1].name, "short");
}

TEST_F(TestReports, AFullReportCountsWhatIsLeftOut) {
  TestReport small(1000);
  const auto print_small = [&](std::string_view text) {
    for (const char c : text) small.put(TestReport::Stream::kSerial, static_cast<uint8_t>(c));
  };
  for (int i = 0; i < 100; ++i) print_small("PASS: name\n");
  print_small("FAIL: last\n");
  for (int i = 0; i < 100; ++i) print_small("# more\n");
  small.finish({});
  ASSERT_LT(small.tests().size(), 20u);
  const uint64_t listed = small.tests().size() - 1;
  EXPECT_EQ(small.tests().back().outcome, TestOutcome::kFailed);
  EXPECT_EQ(small.tests().back().why,
            std::to_string(101 - listed) + " more tests, of which 1 failed: the report is full");
}

TEST_F(TestReports, DetailIsBounded) {
  for (int i = 0; i < 1000; ++i) print(std::string(1000, 'n') + "\n");
  print("FAIL: x\n");
  report_.finish({});
  EXPECT_EQ(report_.tests()[0].detail.size(), 20u * 257);
  EXPECT_THAT(report_.tests()[0].detail, Not(HasSubstr("FAIL")));
}

// Random bytes between the words of the shapes: the file is well-formed all the same.
TEST_F(TestReports, HostileOutputGivesWellFormedXml) {
  constexpr std::string_view kWords[] = {"PASS: ",   "FAIL: ", "ok 1 ", "not ok ",
                                         ": FAIL\n", "1..3\n", "]]>",   "<![CDATA[",
                                         "&#0;",     "\"'/>",  "\x1b[", "# SKIP"};
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    if (random() % 8 == 0) {
      print(kWords[random() % std::size(kWords)]);
    } else {
      print(std::string(1, random() % 16 == 0 ? '\n' : static_cast<char>(random())));
    }
  }
  report_.finish({TestOutcome::kFailed, "<&\">", ""});
  ASSERT_GT(report_.tests().size(), 100u);
  std::string text = junit();
  for (size_t at = text.find('&'); at != std::string::npos; at = text.find('&', at + 1)) {
    const std::string_view rest = std::string_view(text).substr(at);
    EXPECT_TRUE(rest.starts_with("&amp;") || rest.starts_with("&lt;") || rest.starts_with("&gt;") ||
                rest.starts_with("&quot;"))
        << rest.substr(0, 20);
  }
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    const size_t name = text.find_first_not_of("/?", at + 1);
    const std::string_view rest = std::string_view(text).substr(name);
    EXPECT_TRUE(rest.starts_with("testsuite") || rest.starts_with("testcase") ||
                rest.starts_with("failure") || rest.starts_with("skipped") ||
                rest.starts_with("xml"))
        << rest.substr(0, 20);
  }
  std::erase(text, '\n');
  EXPECT_EQ(plain_text(text), text);
}

}  // namespace
}  // namespace nestor::emu
