// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/event_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;

EventLine read_ok(const std::string& line) {
  auto read = read_event_line(line);
  if (auto* bad = std::get_if<std::string>(&read)) {
    ADD_FAILURE() << *bad << ": " << line;
    return {};
  }
  return std::get<EventLine>(std::move(read));
}

TEST(EventLine, HasWhatAListShows) {
  const EventLine exit = read_ok(
      R"({"cycle":12,"sequence":3,"event":"vm-exit","cpu":2,"count":7,"reason":"EPT violation",)"
      R"("reason_field":"0x30","rip":"0xffffffff81000000","decoded":{"rip":"0x1","reason":"x"}})");
  EXPECT_EQ(exit.cycle, 12u);
  EXPECT_EQ(exit.count, 7u);
  EXPECT_EQ(exit.processor, 2u);
  EXPECT_EQ(exit.rip, 0xffffffff81000000u);
  EXPECT_EQ(exit.kind, "vm-exit");
  EXPECT_EQ(exit.what, "EPT violation") << "that of the event, not of a part";
  EXPECT_EQ(read_ok(R"({"cycle":1,"event":"interrupt","vector":32})").what, "32");
  EXPECT_EQ(read_ok(R"({"cycle":1,"event":"new-kind","reason":"x"})").what, "");
  EXPECT_EQ(
      read_ok(R"({"event":"walk","outcome":"translated","steps":[{"level":4}],"cycle":5})").cycle,
      5u);
}

TEST(EventLine, ShortensNamesBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 60; ++i) name += "\u00e9";  // 2 bytes each
  const EventLine event = read_ok(R"({"cycle":1,"event":"x)" + name + R"("})");
  EXPECT_EQ(event.kind, "x" + name.substr(0, 98) + "...");
}

struct BadLine {
  const char* line;
  const char* complaint;
};
class EventLineRefuses : public ::testing::TestWithParam<BadLine> {};

TEST_P(EventLineRefuses, WithAReason) {
  const auto read = read_event_line(GetParam().line);
  ASSERT_TRUE(std::holds_alternative<std::string>(read)) << GetParam().line;
  EXPECT_THAT(std::get<std::string>(read), HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    All, EventLineRefuses,
    ::testing::Values(BadLine{"", "not a JSON object"},
                      BadLine{" 2189018 vm-entry vpid=0", "--trace-format jsonl"},
                      BadLine{"[1]", "not a JSON object"}, BadLine{"{", "not a JSON object"},
                      BadLine{"\x7f"
                              "ELF",
                              "not a JSON object"},
                      BadLine{"{\"cycle\":1,\"event\":\"\xff\"}", "not a JSON object"},
                      BadLine{R"({"cycle":1,"event":"x"} {})", "not a JSON object"},
                      BadLine{R"({"event":"x"})", "no 'cycle'"},
                      BadLine{R"({"cycle":-1,"event":"x"})", "no 'cycle'"},
                      BadLine{R"({"cycle":1.5,"event":"x"})", "no 'cycle'"},
                      BadLine{R"({"cycle":99999999999999999999999,"event":"x"})", "no 'cycle'"},
                      BadLine{R"({"cycle":1})", "no 'event'"},
                      BadLine{R"({"cycle":1,"event":2})", "no 'event'"},
                      BadLine{R"({"cycle":1,"event":"x","count":0})", "'count'"},
                      BadLine{R"({"cycle":1,"event":"x","count":-1})", "'count'"},
                      BadLine{R"({"cycle":1,"event":"x","cpu":8})", "'cpu'"},
                      BadLine{R"({"cycle":1,"event":"x","cpu":-1})", "'cpu'"}));

TEST(EventLine, DeepBracketsAreNoStack) {
  const auto read = read_event_line(R"({"cycle":1,"event":"x","a":)" + std::string(1'000'000, '['));
  ASSERT_TRUE(std::holds_alternative<std::string>(read));
  EXPECT_THAT(std::get<std::string>(read), HasSubstr("brackets"));
}

}  // namespace
}  // namespace nestor::emu
