// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/interrupt_lines.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

using Levels = std::vector<std::pair<unsigned, bool>>;

class InterruptLinesTest : public testing::Test {
 protected:
  InterruptLinesTest() {
    lines.lead_to([this](unsigned line, bool level) { seen.emplace_back(line, level); });
  }
  Levels seen_since() { return std::exchange(seen, {}); }

  InterruptLines lines;
  Levels seen;
};

TEST_F(InterruptLinesTest, ALineIsHighWhileAnySourceIs) {
  InterruptSource first = lines.source(5), second = lines.source(5);
  first.set(true);
  EXPECT_EQ(seen_since(), (Levels{{5, true}}));
  second.set(true);
  first.set(false);
  EXPECT_EQ(seen_since(), (Levels{{5, true}})) << "the second holds it";
  second.set(false);
  EXPECT_EQ(seen_since(), (Levels{{5, false}}));
}

TEST_F(InterruptLinesTest, ASourceCountsOnce) {
  InterruptSource first = lines.source(5), second = lines.source(5);
  first.set(true);
  first.set(true);
  second.set(false);
  seen.clear();
  first.set(false);
  EXPECT_EQ(seen, (Levels{{5, false}}));
}

TEST_F(InterruptLinesTest, LinesAreApart) {
  InterruptSource first = lines.source(0), second = lines.source(InterruptLines::kCount - 1);
  first.set(true);
  second.set(true);
  first.set(false);
  EXPECT_EQ(seen, (Levels{{0, true}, {23, true}, {0, false}}));
}

TEST_F(InterruptLinesTest, EveryReceiverIsCalledInOrder) {
  lines.lead_to([this](unsigned line, bool level) { seen.emplace_back(line + 100, level); });
  lines.source(3).set(true);
  EXPECT_EQ(seen, (Levels{{3, true}, {103, true}}));
}

TEST_F(InterruptLinesTest, WhatIsReplacedDrivesNothing) {
  InterruptSource own = lines.source(0), replaced = lines.replaceable_source(0),
                  other = lines.replaceable_source(8);
  replaced.set(true);
  other.set(true);
  own.set(true);
  EXPECT_EQ(seen_since(), (Levels{{0, true}, {8, true}, {0, true}}));
  lines.replace(true);
  EXPECT_EQ(seen_since(), (Levels{{8, false}})) << "the line that nothing else holds";
  other.set(false);
  replaced.set(true);
  own.set(false);
  EXPECT_EQ(seen_since(), (Levels{{0, false}}));
  lines.replace(true);
  lines.replace(false);
  EXPECT_EQ(seen_since(), (Levels{{0, true}}));
}

TEST_F(InterruptLinesTest, ASourceKnowsWhetherItIsAwaited) {
  const InterruptSource source = lines.source(3);
  EXPECT_TRUE(source.is_awaited()) << "nobody knows better";
  bool first = false, second = false;
  lines.lead_to({}, [&](unsigned line) { return line == 3 && first; });
  lines.lead_to({}, [&](unsigned) { return second; });
  EXPECT_FALSE(source.is_awaited());
  first = true;
  EXPECT_TRUE(source.is_awaited());
  EXPECT_FALSE(lines.source(4).is_awaited());
  second = true;
  EXPECT_TRUE(lines.source(4).is_awaited());
}

TEST_F(InterruptLinesTest, ASourceWithoutALineLeadsNowhere) {
  InterruptSource none;
  EXPECT_FALSE(none.is_awaited());
  none.set(true);
  EXPECT_TRUE(seen.empty());
}

}  // namespace
}  // namespace nestor::emu
