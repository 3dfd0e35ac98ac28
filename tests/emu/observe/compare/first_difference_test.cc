// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/compare/first_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nestor::emu {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST(FirstDifferentLine, IsNamedAndGivenWhole) {
  EXPECT_FALSE(first_different_line("a\nb\n", "a\nb\n"));
  const auto second = first_different_line("a\nb1\r\nc\n", "a\nb2\r\n");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->line, 2u);
  EXPECT_EQ(second->reference, "b1");
  EXPECT_EQ(second->other, "b2");
  const auto ended = first_different_line("a\nb", "a\n");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->line, 2u);
  EXPECT_EQ(ended->reference, "b");
  EXPECT_THAT(ended->other, IsEmpty());
}

// A run of a given course: one cycle for each event, the first at 1.
Rerun run_of(std::vector<MachineEvent> events, std::optional<StaleTranslationEvent> stale = {},
             size_t stale_before = 0) {
  return [=](MachineEventSink& sink, bool keeps) {
    Clock clock;
    uint64_t instructions = 0;
    sink.attach(clock, instructions);
    for (size_t i = 0; i != events.size(); ++i) {
      clock.charge(1);
      if (keeps && stale && i == stale_before) sink.stale_translation(*stale);
      sink.on(L0ExitEvent{});  // no business of L1
      sink.on(events[i]);
    }
  };
}

TEST(Parting, IsTheFirstEventThatDiffers) {
  const WorkloadEvent begin{1}, end{0};
  const DebugExitEvent passed{0}, failed{1};
  const Parting none = find_parting(run_of({begin, end, passed}), run_of({begin, end, passed}));
  EXPECT_FALSE(none.event);
  EXPECT_THAT(none.stale, IsEmpty());

  const Parting last = find_parting(run_of({begin, end, passed}), run_of({begin, end, failed}));
  ASSERT_TRUE(last.event);
  EXPECT_EQ(last.event->before, "2 workload number=0");
  EXPECT_EQ(last.event->reference, "3 debug-exit value=0x0");
  EXPECT_EQ(last.event->other, "3 debug-exit value=0x1");

  const Parting first = find_parting(run_of({begin}), run_of({end}));
  ASSERT_TRUE(first.event);
  EXPECT_THAT(first.event->before, IsEmpty());

  const Parting longer = find_parting(run_of({begin}), run_of({begin, end}));
  ASSERT_TRUE(longer.event);
  EXPECT_THAT(longer.event->reference, IsEmpty());
  EXPECT_EQ(longer.event->other, "2 workload number=0");
  const Parting shorter = find_parting(run_of({begin, end}), run_of({begin}));
  ASSERT_TRUE(shorter.event);
  EXPECT_EQ(shorter.event->reference, "2 workload number=0");
  EXPECT_THAT(shorter.event->other, IsEmpty());
}

// What is stale after the difference did not lead there.
TEST(Parting, NamesWhatWasStaleBefore) {
  StaleTranslationEvent stale;
  stale.linear = 0x5000;
  stale.missing = "INVEPT";
  const WorkloadEvent begin{1}, end{0};
  const Rerun reference = run_of({begin, begin, begin});
  EXPECT_THAT(
      find_parting(reference, run_of({begin, end, begin}, stale, 1)).stale,
      testing::AllOf(StartsWith("2 stale-translation linear=0x5000"), HasSubstr("missing=INVEPT")));
  EXPECT_THAT(find_parting(reference, run_of({begin, end, begin}, stale, 2)).stale, IsEmpty());
}

}  // namespace
}  // namespace nestor::emu
