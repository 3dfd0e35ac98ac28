// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Stream = MomentWatch::Stream;

std::vector<std::string> kinds_of(std::string_view text) {
  const auto parsed = parse_event_kinds(text);
  if (const auto* bad = std::get_if<std::string>(&parsed)) return {*bad};
  std::vector<std::string> names;
  for (size_t i = 0; i < kEventKindCount; ++i) {
    if (std::get<EventKinds>(parsed)[i]) names.emplace_back(event_kinds()[i].name);
  }
  return names;
}

TEST(EventKindNames, ChooseAndLeaveOut) {
  EXPECT_THAT(kinds_of("vm-exit,vm-entry"), ElementsAre("vm-entry", "vm-exit"));
  EXPECT_THAT(kinds_of("none"), IsEmpty());
  EXPECT_EQ(kinds_of("all").size(), kEventKindCount);
  EXPECT_EQ(kinds_of("all,-walk"), kinds_of("-walk"));
  EXPECT_EQ(kinds_of("-walk").size(), kEventKindCount - 1);
  EXPECT_THAT(kinds_of("-walk"), testing::Not(testing::Contains("walk")));
  EXPECT_THAT(kinds_of("vm-exit,-vm-exit,walk"), ElementsAre("walk"));
  EXPECT_THAT(kinds_of("all,none,debug-exit"), ElementsAre("debug-exit"));
}

TEST(EventKindNames, UnknownOnesAreRefusedWithAList) {
  for (const char* text : {"vm-exut", "vm-exit,vm-exut", "-vm-exut"}) {
    const std::string bad = kinds_of(text).front();
    EXPECT_THAT(bad, testing::StartsWith("'vm-exut' is no kind of event; choose from all, none"));
    for (const EventKind& kind : event_kinds()) EXPECT_THAT(bad, HasSubstr(std::string(kind.name)));
  }
  for (const char* text : {"", ",", "walk,", "-", "-all", "--walk", "Walk"})
    EXPECT_THAT(kinds_of(text).front(), HasSubstr("is no kind of event")) << text;
}

// Notes the kinds of what it gets.
struct Notes final : MachineEventSink {
  bool wants_walks() const override { return true; }
  void on(const MachineEvent& event) override {
    kinds.emplace_back(event_kinds()[event.index()].name);
  }
  std::vector<std::string> take() { return std::exchange(kinds, {}); }
  std::vector<std::string> kinds;
};

TEST(FilteredEvents, ByKind) {
  Notes notes;
  FilteredEvents all({}, notes);
  all.walk({});
  all.debug_exit(0);
  EXPECT_TRUE(all.wants_walks());
  EXPECT_THAT(notes.take(), ElementsAre("walk", "debug-exit"));
  FilteredEvents some({.kinds = std::get<EventKinds>(parse_event_kinds("-walk"))}, notes);
  some.walk({});
  some.debug_exit(0);
  EXPECT_FALSE(some.wants_walks());
  EXPECT_THAT(notes.take(), ElementsAre("debug-exit"));
}

TEST(FilteredEvents, ByLevelOnEachProcessor) {
  for (const int level : {1, 2}) {
    Notes notes;
    FilteredEvents events({.level = level}, notes);
    events.processor(0);
    events.interrupt({});
    events.vm_entry({});
    EXPECT_EQ(events.wants_walks(), level == 2);
    events.exception({});
    events.processor(1);  // still runs L1
    EXPECT_EQ(events.wants_walks(), level == 1);
    events.triple_fault({0, false});
    events.processor(0);
    events.walk({});
    events.vm_exit({});
    EXPECT_EQ(events.wants_walks(), level == 1);
    events.debug_exit(0);
    if (level == 1) {
      EXPECT_THAT(notes.take(),
                  ElementsAre("interrupt", "vm-entry", "triple-fault", "vm-exit", "debug-exit"));
    } else {
      EXPECT_THAT(notes.take(), ElementsAre("vm-entry", "exception", "walk", "vm-exit"));
    }
  }
}

EventFilter from(std::string_view text) { return {.from = std::get<Moment>(parse_moment(text))}; }

TEST(FilteredEvents, FromAnInstructionOn) {
  Notes notes;
  FilteredEvents events(from("100"), notes);
  const Clock clock;
  uint64_t instructions = 0;
  events.attach(clock, instructions);
  instructions = 99;
  events.walk({});
  EXPECT_FALSE(events.wants_walks());
  instructions = 100;
  EXPECT_TRUE(events.wants_walks());
  events.debug_exit(0);
  EXPECT_THAT(notes.take(), ElementsAre("debug-exit"));
}

TEST(FilteredEvents, FromAVmExitOnEvenIfThatIsNotShown) {
  Notes notes;
  EventFilter filter = from("exit:2");
  FilteredEvents events(filter, notes);
  filter.kinds = std::get<EventKinds>(parse_event_kinds("-vm-exit"));
  FilteredEvents without(filter, notes);
  for (FilteredEvents* each : {&events, &without}) {
    each->vm_exit({});
    each->vm_entry({});
    each->vm_exit({});
    each->vm_entry({});
  }
  EXPECT_THAT(notes.take(), ElementsAre("vm-exit", "vm-entry", "vm-entry"));
}

TEST(FilteredEvents, FromAMarkOn) {
  const auto write = [](FilteredEvents& events, Stream stream, std::string_view text) {
    for (const char c : text) events.output(stream, static_cast<uint8_t>(c));
  };
  for (const Stream stream : {Stream::kSerial, Stream::kConsole}) {
    Notes notes;
    FilteredEvents events(from("mark:aab"), notes);
    write(events, stream, "xaa");
    write(events, stream == Stream::kSerial ? Stream::kConsole : Stream::kSerial, "b");
    events.debug_exit(0);
    EXPECT_THAT(notes.take(), IsEmpty());
    write(events, stream, "ab");
    events.debug_exit(0);
    write(events, stream, "something else");
    events.debug_exit(0);
    EXPECT_THAT(notes.take(), ElementsAre("debug-exit", "debug-exit"));
  }
}

TEST(FilteredEvents, FromAWorkloadOn) {
  Notes notes;
  FilteredEvents events(from("mark:workload number=2"), notes);
  events.workload(1);
  EXPECT_THAT(notes.take(), IsEmpty());
  events.workload(2);
  EXPECT_THAT(notes.take(), ElementsAre("workload"));
}

TEST(Moments, AreParsed) {
  using Kind = Moment::Kind;
  EXPECT_EQ(std::get<Moment>(parse_moment("0")), (Moment{Kind::kInstructions, 0}));
  EXPECT_EQ(std::get<Moment>(parse_moment("exit:7")), (Moment{Kind::kExit, 7}));
  EXPECT_EQ(std::get<Moment>(parse_moment("mark:exit:7 ")), (Moment{Kind::kMark, 0, "exit:7 "}));
  for (const auto& [text, complaint] : std::vector<std::pair<const char*, const char*>>{
           {"", "'' is no moment"},
           {"soon", "'soon' is no moment"},
           {"-1", "'-1' is no moment"},
           {"1x", "'1x' is no moment"},
           {"18446744073709551616", "is no moment"},
           {"exit:", "'exit:' names no VM exit"},
           {"exit:0", "'exit:0' names no VM exit"},
           {"exit:1 ", "'exit:1 ' names no VM exit"},
           {"mark:", "the text after mark: is empty"}}) {
    const auto parsed = parse_moment(text);
    ASSERT_TRUE(std::holds_alternative<std::string>(parsed)) << text;
    EXPECT_THAT(std::get<std::string>(parsed), HasSubstr(complaint));
  }
}

}  // namespace
}  // namespace nestor::emu
