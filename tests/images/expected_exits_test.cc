// SPDX-License-Identifier: GPL-2.0-or-later
//
// The comparison itself: a trace that is not as expected must not pass.
#include "tests/images/expected_exits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nestor::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<ExpectedEvent> parsed(std::string_view text) {
  auto result = parse_expected(text);
  if (auto* error = std::get_if<std::string>(&result)) {
    ADD_FAILURE() << *error;
    return {};
  }
  return std::get<std::vector<ExpectedEvent>>(std::move(result));
}

constexpr std::string_view kTrace =
    R"({"cycle":1,"sequence":0,"event":"vm-entry","instruction":"VMLAUNCH","vmcs":"0x1000"}
{"cycle":2,"sequence":1,"event":"walk","outcome":"translated"}
{"cycle":3,"sequence":2,"event":"vm-exit","reason":"EPT violation","reason_field":"0x30","qualification":"0x182","guest_linear":"0x8020","guest_physical":"0x9020"}
{"cycle":4,"sequence":3,"event":"vm-entry","instruction":"VMRESUME"}
{"cycle":5,"sequence":4,"event":"vm-exit","reason":"CPUID","reason_field":"0xa","instruction_length":2}
{"cycle":6,"sequence":5,"event":"vm-instruction-error","instruction":"VMCLEAR","result":"VMfailValid","error":2}
{"cycle":7,"sequence":6,"event":"vm-instruction-error","instruction":"VMLAUNCH","result":"VMfailValid","error":8}
{"cycle":8,"sequence":7,"event":"vm-instruction-error","instruction":"VMRESUME","result":"VMfailInvalid"}
{"cycle":9,"sequence":8,"event":"vm-exit","reason":"VM-entry failure due to invalid guest state","reason_field":"0x80000021","qualification":"0x0"}
{"cycle":9,"sequence":9,"event":"debug-exit","value":"0x0"}
)";

constexpr std::string_view kExpected = R"(# A comment.

entry VMLAUNCH
exit EPT violation qualification=0x182/0x1be gpa=0x9020 gla=0x8020
entry VMRESUME case=other
exit CPUID instruction-length=2
failed-instruction VMLAUNCH error=8,7
failed-instruction VMRESUME error=none
failed-entry VM-entry failure due to invalid guest state qualification=0x0
)";

std::optional<std::string> difference(std::string_view expected, std::string_view output = "") {
  return first_difference(parsed(expected), skipped_cases(output), events_of_trace(kTrace));
}

std::string changed(std::string_view from, std::string_view to) {
  std::string text(kExpected);
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ExpectedExits, AnEqualSequencePasses) { EXPECT_EQ(difference(kExpected), std::nullopt); }

TEST(ExpectedExits, EachChangedExpectationFails) {
  const struct {
    std::string_view from, to;
  } kChanges[] = {
      {"entry VMLAUNCH", "entry VMRESUME"},
      {"entry VMLAUNCH", "exit VMLAUNCH"},
      {"exit EPT violation", "exit EPT misconfiguration"},
      {"exit EPT violation", "failed-entry EPT violation"},
      {"0x182/0x1be", "0x180/0x1be"},
      {"0x182/0x1be", "0x183"},
      {"gpa=0x9020", "gpa=0x9028"},
      {"gla=0x8020", "gla=0x8021"},
      {"instruction-length=2", "instruction-length=3"},
      {"instruction-length=2", "instruction-length=2 qualification=0x0"},
      {"instruction-length=2", "instruction-length=2 gpa=0x0"},
      {"error=8,7", "error=7,9"},
      {"error=8,7", "error=none"},
      {"error=none", "error=5"},
      {"qualification=0x0", "qualification=0x1"},
      {"entry VMRESUME case=other\n", ""},
      {"entry VMRESUME case=other\n", "entry VMRESUME\nentry VMRESUME\n"},
  };
  for (const auto& [from, to] : kChanges) {
    EXPECT_NE(difference(changed(from, to)), std::nullopt) << from << " -> " << to;
  }
}

TEST(ExpectedExits, OnlyTheBitsOfTheMaskCount) {
  EXPECT_EQ(difference(changed("0x182/0x1be", "0x2/0x2")), std::nullopt);
  EXPECT_EQ(difference(changed("0x182/0x1be", "0x0/0x0")), std::nullopt);
  EXPECT_EQ(difference(changed("0x182/0x1be", "0x182")), std::nullopt);
  EXPECT_NE(difference(changed("0x182/0x1be", "0x0/0x2")), std::nullopt);
}

TEST(ExpectedExits, TheLengthOfTheSequenceCounts) {
  EXPECT_THAT(*difference(std::string(kExpected) + "entry VMRESUME\n"), HasSubstr("the run ended"));
  std::string shorter(kExpected);
  shorter.resize(shorter.find("failed-entry"));
  EXPECT_THAT(*difference(shorter), HasSubstr("after the last line"));
  EXPECT_NE(difference(""), std::nullopt);
}

TEST(ExpectedExits, SkippedCasesDropTheirLinesOnly) {
  EXPECT_THAT(
      skipped_cases("ok one\nskipped: a-case: not offered\nis skipped: no\nskipped: b: x: y\n"),
      ElementsAre("a-case", "b"));
  EXPECT_EQ(difference(changed("exit CPUID", "exit HLT case=absent\nexit CPUID"),
                       "skipped: absent: the processor lacks it\n"),
            std::nullopt);
  EXPECT_NE(difference(changed("exit CPUID", "exit HLT case=absent\nexit CPUID"),
                       "skipped: another: the processor lacks it\n"),
            std::nullopt);
  EXPECT_NE(difference(kExpected, "skipped: other: not offered\n"), std::nullopt);
}

TEST(ExpectedExits, TheMessageNamesLineExpectationAndEvent) {
  EXPECT_THAT(*difference(changed("instruction-length=2", "instruction-length=3")),
              testing::AllOf(HasSubstr("line 6"), HasSubstr("exit CPUID instruction-length=3"),
                             HasSubstr("got exit CPUID instruction-length=2")));
}

TEST(ExpectedExits, AMalformedFileIsRefused) {
  for (const char* text :
       {"entrance VMLAUNCH\n", "entry\n", "exit CPUID length=2\n", "exit CPUID gpa=\n",
        "exit CPUID gpa=0xzz\n", "exit CPUID qualification=0x1/0x2/0x3\n",
        "exit CPUID gpa=0x1 HLT\n", "exit CPUID gpa=0x1 gpa=0x1\n", "exit CPUID error=\n",
        "exit CPUID case=\n"}) {
    EXPECT_TRUE(std::holds_alternative<std::string>(parse_expected(text))) << text;
  }
}

}  // namespace
}  // namespace nestor::tests
