// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pit.h"

#include <gtest/gtest.h>

#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

class PitTest : public testing::Test {
 protected:
  PitTest() {
    lines.lead_to([this](unsigned, bool level) {
      rises += level && !line;
      line = level;
    });
  }
  void out(uint16_t port, uint8_t value) { bus.write_port(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(bus.read_port(port, 1)); }
  void program(unsigned channel, uint8_t mode, uint16_t count) {
    out(0x43, static_cast<uint8_t>(channel << 6 | 0x30 | mode << 1));
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count));
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count >> 8));
  }
  uint16_t read_latched(unsigned channel) {
    const auto port = static_cast<uint16_t>(0x40 + channel);
    out(0x43, static_cast<uint8_t>(channel << 6));
    const uint8_t low = in(port);
    return static_cast<uint16_t>(in(port) << 8 | low);
  }
  // The first cycle of a tick.
  static uint64_t cycle(uint64_t tick) {
    return (tick * Clock::kFrequency + Pit::kFrequency - 1) / Pit::kFrequency;
  }
  void to_tick(uint64_t tick) {
    while (bus.deadline() <= cycle(tick)) {
      clock.advance_to(bus.deadline());
      bus.expire(clock.cycles());
    }
    clock.advance_to(cycle(tick));
  }

  Clock clock;
  Bus bus;
  bool line = false;
  int rises = 0;
  InterruptLines lines;
  Pit pit{clock, bus.timers(), lines.source(0)};
  const std::vector<Claim> claims = test::plug(bus, pit, "8254 interval timer");
};

TEST_F(PitTest, StandsStillUntilProgrammed) {
  EXPECT_EQ(bus.deadline(), Device::kNever);
  to_tick(100000);
  EXPECT_EQ(rises, 0);
}

// As firmware leaves it: the count alone starts a periodic timer.
TEST_F(PitTest, Channel0IsInMode2FromReset) {
  bus.write_port(0x40, 1, 1000 & 0xff);
  bus.write_port(0x40, 1, 1000 >> 8);
  to_tick(3500);
  EXPECT_EQ(rises, 3);
}

TEST_F(PitTest, Mode0InterruptsOnce) {
  program(0, 0, 1000);
  EXPECT_FALSE(line);
  EXPECT_EQ(bus.deadline(), cycle(1000));
  to_tick(400);
  EXPECT_EQ(read_latched(0), 600);
  to_tick(999);
  EXPECT_EQ(rises, 0);
  to_tick(1000);
  EXPECT_TRUE(line);
  EXPECT_EQ(bus.deadline(), Device::kNever);
  to_tick(1002);
  EXPECT_EQ(read_latched(0), 0xfffe);  // it counts on
}

TEST_F(PitTest, Mode2IsPeriodicInVirtualTime) {
  program(0, 2, 11932);
  rises = 0;
  to_tick(11932 * 10 + 5);
  EXPECT_EQ(rises, 10);
  EXPECT_EQ(read_latched(0), 11927);
}

TEST_F(PitTest, AWholeSecondHasTheRightNumberOfTicks) {
  program(0, 2, 1193);
  rises = 0;
  while (bus.deadline() <= Clock::kFrequency) {
    clock.advance_to(bus.deadline());
    bus.expire(clock.cycles());
  }
  EXPECT_EQ(rises, 1193182 / 1193);
}

TEST_F(PitTest, AccessesDoNotLoseATickThatIsDue) {
  program(0, 2, 1000);
  rises = 0;
  to_tick(1000);
  EXPECT_EQ(rises, 1);
  clock.advance_to(cycle(2003));
  EXPECT_EQ(read_latched(0), 997);
  EXPECT_EQ(rises, 2);
  EXPECT_EQ(bus.deadline(), cycle(3000));
}

TEST_F(PitTest, Mode3CountsByTwo) {
  program(0, 3, 100);
  to_tick(10);
  EXPECT_EQ(read_latched(0), 80);
  to_tick(60);
  EXPECT_EQ(read_latched(0), 80);
  out(0x43, 0xe2);  // read-back: status of channel 0
  EXPECT_EQ(in(0x40) & 0xbf, 0x36);
}

TEST_F(PitTest, CountZeroIsTheLongestCount) {
  program(0, 2, 0);
  EXPECT_EQ(bus.deadline(), cycle(65536));
}

TEST_F(PitTest, Channel2IsGatedByPort61) {
  out(0x61, 0x00);
  program(2, 0, 500);
  to_tick(1000);
  EXPECT_EQ(in(0x61) & 0x20, 0);
  out(0x61, 0x01);
  to_tick(1499);
  EXPECT_EQ(in(0x61) & 0x21, 0x01);
  to_tick(1500);
  EXPECT_EQ(in(0x61) & 0x21, 0x21);
}

TEST_F(PitTest, RefreshBitToggles) {
  const uint8_t first = in(0x61) & 0x10;
  to_tick(18);
  EXPECT_NE(in(0x61) & 0x10, first);
  to_tick(36);
  EXPECT_EQ(in(0x61) & 0x10, first);
}

TEST_F(PitTest, LatchHoldsTheCountUntilRead) {
  program(2, 2, 0x1000);
  out(0x61, 1);
  to_tick(0x100);
  out(0x43, 0x80);
  to_tick(0x200);
  out(0x43, 0x80);  // a second latch command changes nothing
  EXPECT_EQ(in(0x42), 0x00);
  EXPECT_EQ(in(0x42), 0x0f);
  EXPECT_EQ(read_latched(2), 0x0e00);
}

TEST_F(PitTest, ReadBackLatchesStatusThenCount) {
  out(0x61, 1);
  program(2, 2, 0x1000);
  to_tick(0x10);
  out(0x43, 0xc8);
  EXPECT_EQ(in(0x42), 0xb4);
  EXPECT_EQ(in(0x42), 0xf0);
  EXPECT_EQ(in(0x42), 0x0f);
}

TEST_F(PitTest, SingleByteAccessModes) {
  out(0x43, 0x14);  // low byte only, mode 2
  out(0x40, 200);
  EXPECT_EQ(bus.deadline(), cycle(200));
  to_tick(50);
  EXPECT_EQ(in(0x40), 150);
  EXPECT_EQ(in(0x40), 150);
}

TEST_F(PitTest, BinaryCodedDecimal) {
  out(0x43, 0x31);
  out(0x40, 0x00);
  out(0x40, 0x10);
  EXPECT_EQ(bus.deadline(), cycle(1000));
  to_tick(1);
  EXPECT_EQ(read_latched(0), 0x0999);
}

}  // namespace
}  // namespace nestor::emu
