// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/acpi/power_management.h"

#include <gtest/gtest.h>

#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

class PowerManagementTest : public testing::Test {
 protected:
  void pass(uint64_t cycles) {
    clock.charge(cycles);
    if (bus.deadline() <= clock.cycles()) bus.expire(clock.cycles());
  }

  // Half a period of the timer, rounded up to cycles.
  static constexpr uint64_t kCarry = ((1ull << 23) * Clock::kFrequency + 3'579'544) / 3'579'545;

  Bus bus;
  Clock clock;
  InterruptLines lines;
  bool sci = false;
  int offs = 0;
  PowerManagement device{clock, bus.timers(), lines.source(9), [this] { ++offs; }};
  const std::vector<Claim> claims = test::plug(bus, device, "ACPI power management");

  PowerManagementTest() {
    lines.lead_to([this](unsigned line, bool level) {
      if (line == 9) sci = level;
    });
  }
};

TEST_F(PowerManagementTest, TheTimerCounts24BitsOfItsFrequency) {
  EXPECT_EQ(bus.read_port(0x608, 4), 0u);
  clock.charge(Clock::kFrequency);
  EXPECT_EQ(bus.read_port(0x608, 4), 3'579'545u);
  EXPECT_EQ(bus.read_port(0x609, 1), 3'579'545u >> 8 & 0xff);
  clock.charge(4 * Clock::kFrequency);
  EXPECT_EQ(bus.read_port(0x608, 4), 5 * 3'579'545 % (1u << 24));
}

TEST_F(PowerManagementTest, TheStatusOfTheTimerIsSetWhenItsTopBitChanges) {
  pass(kCarry - 1);
  EXPECT_EQ(bus.read_port(0x600, 2), 0u);
  pass(1);
  EXPECT_EQ(bus.read_port(0x600, 2), 1u);
  EXPECT_FALSE(sci) << "it is not enabled";
  bus.write_port(0x600, 2, 0);
  EXPECT_EQ(bus.read_port(0x600, 2), 1u) << "a 0 clears nothing";
  bus.write_port(0x600, 2, 1);
  EXPECT_EQ(bus.read_port(0x600, 2), 0u);
  pass(kCarry);
  EXPECT_EQ(bus.read_port(0x600, 1), 1u);
}

TEST_F(PowerManagementTest, TheTimerInterrupts) {
  bus.write_port(0x602, 2, 1);
  EXPECT_EQ(bus.read_port(0x600, 4), 0x10000u);
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(sci);
    ASSERT_NE(bus.deadline(), EventQueue::kNever);
    pass(bus.deadline() - clock.cycles() - 1);
    EXPECT_FALSE(sci);
    pass(1);
    EXPECT_TRUE(sci) << "at the very cycle";
    EXPECT_EQ(bus.read_port(0x600, 2), 1u);
    EXPECT_EQ(bus.deadline(), EventQueue::kNever) << "until it is cleared";
    bus.write_port(0x600, 1, 1);
  }
  pass(kCarry);
  EXPECT_TRUE(sci);
  bus.write_port(0x602, 2, 0);
  EXPECT_FALSE(sci);
  bus.write_port(0x602, 2, 1);
  EXPECT_TRUE(sci) << "the status outlasts that";
}

TEST_F(PowerManagementTest, AcpiModeIsOn) {
  EXPECT_EQ(bus.read_port(0x604, 2), 1u);
  bus.write_port(0x604, 2, 0x1002);
  EXPECT_EQ(bus.read_port(0x604, 2), 0x1003u);
  EXPECT_EQ(bus.read_port(0x605, 1), 0x10u);
}

TEST_F(PowerManagementTest, OnlyS5TurnsTheMachineOff) {
  for (uint32_t type = 0; type < 8; ++type) {
    offs = 0;
    bus.write_port(0x604, 2, type << 10);
    EXPECT_EQ(offs, 0) << type;
    bus.write_port(0x604, 2, type << 10 | 0x2000);
    EXPECT_EQ(offs, type == 0) << type;
    EXPECT_EQ(bus.read_port(0x604, 2), type << 10 | 1) << "SLP_EN reads as 0";
  }
  offs = 0;
  bus.write_port(0x604, 1, 0);
  bus.write_port(0x605, 1, 0x20);
  EXPECT_EQ(offs, 1) << "a byte will do";
}

}  // namespace
}  // namespace nestor::emu
