// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "emu/devices/emulator/debug_console.h"
#include "emu/devices/emulator/debug_exit.h"
#include "emu/devices/emulator/fw_cfg.h"
#include "emu/devices/emulator/pc_testdev.h"
#include "emu/devices/emulator/workload_marks.h"
#include "emu/devices/legacy/keyboard_controller.h"
#include "emu/devices/legacy/rtc.h"
#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

TEST(DebugExitTest, MakesAnExitStatusOfEverySize) {
  Bus bus;
  std::vector<uint32_t> statuses;
  DebugExit device([&](uint32_t status) { statuses.push_back(status); });
  const auto claims = test::plug(bus, device, "debug exit");
  bus.write_port(0xf4, 1, 0);
  bus.write_port(0xf4, 2, 0x1234);
  bus.write_port(0xf4, 4, 0x10);
  EXPECT_EQ(statuses, (std::vector<uint32_t>{1, 0x2469, 0x21}));
}

TEST(WorkloadMarksTest, TellsTheNumberOfTheWorkload) {
  Bus bus;
  std::vector<uint8_t> marks;
  WorkloadMarks device([&](uint8_t number) { marks.push_back(number); });
  const auto claims = test::plug(bus, device, "workload marks");
  bus.write_port(0xf8, 1, 3);
  bus.write_port(0xf8, 1, 0);
  EXPECT_EQ(marks, (std::vector<uint8_t>{3, 0}));
}

TEST(DebugConsoleTest, PrintsAndAnswers) {
  Bus bus;
  std::string printed;
  DebugConsole device([&](uint8_t byte) { printed += static_cast<char>(byte); });
  const auto claims = test::plug(bus, device, "debug console");
  bus.write_port(0xe9, 1, '!');
  EXPECT_EQ(printed, "!");
  EXPECT_EQ(bus.read_port(0xe9, 1), 0xe9u);
}

class FwCfgTest : public testing::Test {
 protected:
  uint64_t item(uint16_t selector, unsigned size) {
    bus.write_port(0x510, 2, selector);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{bus.read_port(0x511, 1)} << (8 * i);
    return value;
  }
  Bus bus;
  FwCfg device{5ull << 30, 3};
  const std::vector<Claim> claims = test::plug(bus, device, "fw_cfg");
};

TEST_F(FwCfgTest, TellsTheMachine) {
  EXPECT_EQ(item(0x00, 4), 0x554d4551u);  // "QEMU"
  EXPECT_EQ(item(0x01, 4), 1u);
  EXPECT_EQ(item(0x03, 8), 5ull << 30);
  EXPECT_EQ(item(0x05, 2), 3u);
  EXPECT_EQ(item(0x0f, 2), 3u);
}

TEST_F(FwCfgTest, EndsAndGapsReadAsZeros) {
  EXPECT_EQ(item(0x05, 8), 3u);
  EXPECT_EQ(item(0x7777, 4), 0u);
  EXPECT_EQ(item(0x05, 1), 3u);  // selecting starts again
}

class PcTestdevTest : public testing::Test {
 protected:
  PcTestdevTest() {
    interrupts.lead_to([this](unsigned line, bool level) { lines.emplace_back(line, level); });
  }
  Bus bus;
  std::vector<std::pair<unsigned, bool>> lines;
  std::vector<uint64_t> flushed;
  InterruptLines interrupts;
  PcTestdev device{interrupts, [this](uint64_t page) { flushed.push_back(page); }};
  const std::vector<Claim> claims = test::plug(bus, device, "pc-testdev");
};

TEST_F(PcTestdevTest, DrivesInterruptLines) {
  bus.write_port(0x2000, 1, 1);
  bus.write_port(0x2017, 1, 0);
  EXPECT_EQ(lines, (std::vector<std::pair<unsigned, bool>>{{0, true}, {23, false}}));
}

TEST_F(PcTestdevTest, DataPortsAreOneRegister) {
  bus.write_port(0xe0, 4, 0x11223344);
  EXPECT_EQ(bus.read_port(0xe0, 4), 0x11223344u);
  bus.write_port(0xe1, 1, 0xaa);
  EXPECT_EQ(bus.read_port(0xe0, 2), 0xaa44u);
  EXPECT_EQ(bus.read_port(0xe8, 1), 0x44u);
  bus.write_port(0xea, 1, 0xbb);
  EXPECT_EQ(bus.read_port(0xe0, 4), 0x11bbaa44u);
}

TEST_F(PcTestdevTest, FlushesPages) {
  bus.write_port(0xe4, 4, 0x12345678);
  EXPECT_EQ(flushed, (std::vector<uint64_t>{0x12345000}));
}

TEST_F(PcTestdevTest, MemoryIsABuffer) {
  bus.write_memory(0xff000010, 8, 0x1122334455667788);
  EXPECT_EQ(bus.read_memory(0xff000014, 4), 0x11223344u);
  EXPECT_EQ(bus.read_memory(0xff000011, 1), 0x77u);
  bus.write_memory(0xff00fffe, 2, 0xabcd);
  EXPECT_EQ(bus.read_memory(0xff00fffe, 2), 0xabcdu);
  EXPECT_EQ(bus.read_memory(0xff00fffe, 4), 0xffffabcdu);  // beyond its end nothing answers
}

class KeyboardControllerTest : public testing::Test {
 protected:
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(bus.read_port(port, 1)); }
  void out(uint16_t port, uint8_t value) { bus.write_port(port, 1, value); }
  Bus bus;
  int resets = 0;
  InterruptLines lines;
  std::array<unsigned, InterruptLines::kCount> rises{};
  std::array<bool, InterruptLines::kCount> high{};
  KeyboardController device{[this] { ++resets; }, lines.source(1), lines.source(12)};
  const std::vector<Claim> claims = test::plug(bus, device, "keyboard controller");

  KeyboardControllerTest() {
    lines.lead_to([this](unsigned line, bool level) {
      rises[line] += level && !high[line];
      high[line] = level;
    });
  }
};

TEST_F(KeyboardControllerTest, AnswersCommands) {
  EXPECT_EQ(in(0x64) & 0x03, 0);
  out(0x64, 0xaa);
  EXPECT_EQ(in(0x64) & 0x01, 1);
  EXPECT_EQ(in(0x60), 0x55);
  EXPECT_EQ(in(0x64) & 0x01, 0);
  out(0x64, 0x60), out(0x60, 0x45), out(0x64, 0x20);
  EXPECT_EQ(in(0x60), 0x45);
  out(0x60, 0xff);  // to a keyboard that is not there
  EXPECT_EQ(in(0x64) & 0x01, 0);
}

TEST_F(KeyboardControllerTest, ReturnsWhatItIsGivenAsIfADeviceHadSentIt) {
  out(0x64, 0xd3), out(0x60, 0x5a);
  EXPECT_EQ(in(0x64) & 0x21, 0x21) << "of the mouse";
  EXPECT_EQ(in(0x60), 0x5a);
  out(0x64, 0xd2), out(0x60, 0xa5);
  EXPECT_EQ(in(0x64) & 0x21, 0x01) << "of the keyboard";
  EXPECT_EQ(in(0x60), 0xa5);
  EXPECT_EQ(in(0x64) & 0x21, 0);
}

TEST_F(KeyboardControllerTest, InterruptsForEachByteOfADevice) {
  out(0x64, 0xd2), out(0x60, 1);
  EXPECT_EQ(rises[1], 0u) << "it is not enabled";
  out(0x64, 0x60), out(0x60, 0x03);
  EXPECT_EQ(rises[1], 1u);
  out(0x64, 0xd2), out(0x60, 2);
  out(0x64, 0xd3), out(0x60, 3);
  EXPECT_EQ(rises[1], 1u) << "the first one still waits";
  EXPECT_EQ(in(0x60), 1);
  EXPECT_EQ(rises[1], 2u);
  EXPECT_EQ(rises[12], 0u);
  EXPECT_EQ(in(0x60), 2);
  EXPECT_FALSE(high[1]);
  EXPECT_EQ(rises[12], 1u);
  EXPECT_EQ(in(0x60), 3);
  EXPECT_FALSE(high[12]);
  out(0x64, 0xaa);
  EXPECT_EQ(in(0x60), 0x55);
  EXPECT_EQ(rises[1] + rises[12], 3u) << "its own answers interrupt nobody";
}

TEST_F(KeyboardControllerTest, Resets) {
  out(0x64, 0xff);
  EXPECT_EQ(resets, 0);
  out(0x64, 0xfe);
  EXPECT_EQ(resets, 1);
  out(0x64, 0xd1), out(0x60, 0xdf);
  EXPECT_EQ(resets, 1);
  out(0x64, 0xd1), out(0x60, 0xde);
  EXPECT_EQ(resets, 2);
  EXPECT_EQ(in(0x92), 0x02);
  out(0x92, 0x02);
  EXPECT_EQ(resets, 2);
  out(0x92, 0x03);
  EXPECT_EQ(resets, 3);
}

class RtcTest : public testing::Test {
 protected:
  uint8_t cmos(uint8_t index) {
    bus.write_port(0x70, 1, index);
    return static_cast<uint8_t>(bus.read_port(0x71, 1));
  }
  void set(uint8_t index, uint8_t value) {
    bus.write_port(0x70, 1, index);
    bus.write_port(0x71, 1, value);
  }
  void pass(uint64_t seconds) { clock.charge(seconds * Clock::kFrequency); }

  Clock clock;
  Bus bus;
  Rtc device{clock, 5ull << 30};
  const std::vector<Claim> claims = test::plug(bus, device, "real-time clock");
};

TEST_F(RtcTest, RunsWithTheVirtualClock) {
  EXPECT_EQ(cmos(0x09), 0x00);
  EXPECT_EQ(cmos(0x32), 0x20);
  EXPECT_EQ(cmos(0x06), 0x07);
  pass(uint64_t{59} * 86400 + 13 * 3600 + 45 * 60 + 7);  // 29 February 2000, a Tuesday
  EXPECT_EQ(cmos(0x00), 0x07);
  EXPECT_EQ(cmos(0x02), 0x45);
  EXPECT_EQ(cmos(0x04), 0x13);
  EXPECT_EQ(cmos(0x06), 0x03);
  EXPECT_EQ(cmos(0x07), 0x29);
  EXPECT_EQ(cmos(0x08), 0x02);
  set(0x0b, 0x04);  // binary, 12 hours
  EXPECT_EQ(cmos(0x02), 45);
  EXPECT_EQ(cmos(0x04), 0x81);
  EXPECT_EQ(cmos(0x0a) & 0x80, 0);
  EXPECT_EQ(cmos(0x0d), 0x80);
}

TEST_F(RtcTest, TellsTheSizeOfMemory) {
  EXPECT_EQ(cmos(0x15) | cmos(0x16) << 8, 640);
  EXPECT_EQ(cmos(0x17) | cmos(0x18) << 8, 0xffff);
  EXPECT_EQ(cmos(0x34) | cmos(0x35) << 8, (3072 - 16) * 16);
  EXPECT_EQ(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, 2048 * 16);
  set(0x40, 0x99);
  EXPECT_EQ(cmos(0xc0), 0x99);  // bit 7 of the index masks NMI
}

}  // namespace
}  // namespace nestor::emu
