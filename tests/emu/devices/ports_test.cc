// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <string>
#include <tuple>
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
  FwCfg device{5ull << 30, 3, {{"second", {1, 2, 3}}, {"first", {4}}}};
  const std::vector<Claim> claims = test::plug(bus, device, "fw_cfg");
};

TEST_F(FwCfgTest, TellsTheMachine) {
  EXPECT_EQ(item(0x00, 4), 0x554d4551u);  // "QEMU"
  EXPECT_EQ(item(0x01, 4), 1u);
  EXPECT_EQ(item(0x03, 8), 5ull << 30);
  EXPECT_EQ(item(0x05, 2), 3u);
  EXPECT_EQ(item(0x0f, 2), 3u);
}

TEST_F(FwCfgTest, HasADirectoryOfItsFiles) {
  bus.write_port(0x510, 2, 0x19);
  const auto next = [&](unsigned size) {
    uint64_t value = 0;  // big-endian
    for (unsigned i = 0; i < size; ++i) value = value << 8 | bus.read_port(0x511, 1);
    return value;
  };
  EXPECT_EQ(next(4), 2u);
  for (const auto& [name, size, selector] :
       {std::tuple{"first", 1u, 0x20u}, std::tuple{"second", 3u, 0x21u}}) {
    EXPECT_EQ(next(4), size) << name;
    EXPECT_EQ(next(2), selector) << name;
    EXPECT_EQ(next(2), 0u) << name;
    std::string text;
    for (int i = 0; i < 56; ++i) text += static_cast<char>(next(1));
    EXPECT_EQ(text, std::string(name).append(56 - std::string(name).size(), '\0'));
  }
  EXPECT_EQ(next(8), 0u) << "it ends here";
  EXPECT_EQ(item(0x20, 4), 4u);
  EXPECT_EQ(item(0x21, 4), 0x030201u);
  EXPECT_THROW(FwCfg(1, 1, {{std::string(56, 'x'), {}}}), std::logic_error);
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

TEST_F(KeyboardControllerTest, SaysThatNobodyAnswers) {
  bus.write_port(0x60, 1, 0xff);  // RESET, for a keyboard
  EXPECT_EQ(bus.read_port(0x64, 1) & 0x61, 0x41u);
  bus.write_port(0x60, 1, 0xf4);
  EXPECT_EQ(bus.read_port(0x60, 1), 0xfeu);
  EXPECT_EQ(bus.read_port(0x64, 1) & 0x61, 0u) << "there is room for one";
  bus.write_port(0x64, 1, 0xd4);
  bus.write_port(0x60, 1, 0xff);  // and for a mouse
  EXPECT_EQ(bus.read_port(0x64, 1) & 0x61, 0x61u);
  EXPECT_EQ(bus.read_port(0x60, 1), 0xfeu);
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
  // An hour before midnight of a Monday, 28 February 2000, as the time is set.
  void set_time(uint8_t status_b) {
    set(0x0b, 0x80 | status_b);
    const std::pair<int, int> parts[] = {{0x00, 0x58}, {0x02, 0x59}, {0x04, 0x23}, {0x06, 0x02},
                                         {0x07, 0x28}, {0x08, 0x02}, {0x09, 0x00}, {0x32, 0x20}};
    for (const auto& [index, value] : parts)
      set(static_cast<uint8_t>(index), static_cast<uint8_t>(value));
    set(0x0b, status_b);
  }
  // Ends at the very cycle of the next interrupt.
  uint64_t pass_to_interrupt() {
    const uint64_t start = clock.cycles();
    EXPECT_NE(bus.deadline(), EventQueue::kNever);
    if (bus.deadline() == EventQueue::kNever) return 0;
    clock.advance_to(bus.deadline() - 1);
    bus.expire(clock.cycles());
    EXPECT_FALSE(irq);
    clock.advance_to(bus.deadline());
    bus.expire(clock.cycles());
    EXPECT_TRUE(irq);
    return clock.cycles() - start;
  }

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
  InterruptLines lines;
  bool irq = false;
  Rtc device{clock, bus.timers(), 5ull << 30, lines.source(8)};
  const std::vector<Claim> claims = test::plug(bus, device, "real-time clock");

  RtcTest() {
    lines.lead_to([this](unsigned, bool level) { irq = level; });
  }
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

TEST_F(RtcTest, TheTimeIsSetAndRollsOver) {
  set_time(0x02);
  EXPECT_EQ(cmos(0x00), 0x58);
  pass(2);
  EXPECT_EQ(cmos(0x00), 0x00);
  EXPECT_EQ(cmos(0x04), 0x00);
  EXPECT_EQ(cmos(0x06), 0x03) << "counted from what was written";
  EXPECT_EQ(cmos(0x07), 0x29);
  set(0x09, 0x99);
  set(0x32, 0x19);
  set(0x08, 0x12);
  set(0x07, 0x31);
  pass(86400);
  EXPECT_EQ(cmos(0x09), 0x00);
  EXPECT_EQ(cmos(0x32), 0x20);
  EXPECT_EQ(cmos(0x08), 0x01);
}

TEST_F(RtcTest, SetKeepsTheTimeAsItIs) {
  pass(5);
  cmos(0x0c);
  set(0x0b, 0x82);
  pass(100);
  EXPECT_EQ(cmos(0x00), 0x05);
  EXPECT_EQ(cmos(0x0c) & 0x10, 0) << "nothing was updated";
  set(0x08, 0x13);
  set(0x0b, 0x02);
  pass(7);
  EXPECT_EQ(cmos(0x00), 0x05) << "what is no time does not go on";
  set(0x08, 0x12);
  pass(7);
  EXPECT_EQ(cmos(0x00), 0x12);
}

TEST_F(RtcTest, UpdateIsInProgressBeforeItsEnd) {
  EXPECT_EQ(cmos(0x0a), 0x26);
  const uint64_t update = Rtc::kUpdateTicks * Clock::kFrequency / Rtc::kFrequency;
  clock.charge(Clock::kFrequency - update - 100'000);
  EXPECT_EQ(cmos(0x0a), 0x26);
  clock.charge(200'000);
  EXPECT_EQ(cmos(0x0a), 0xa6);
  set(0x0a, 0xa6);
  EXPECT_EQ(cmos(0x0a), 0xa6);
  set(0x0b, 0x82);
  EXPECT_EQ(cmos(0x0a), 0x26);
  set(0x0b, 0x02);
  clock.charge(update);
  EXPECT_EQ(cmos(0x0a), 0x26);
  EXPECT_EQ(cmos(0x00), 0x01);
}

TEST_F(RtcTest, TheFirstUpdateIsHalfASecondAfterTheDividerIsReleased) {
  pass(3);
  set(0x0a, 0x76);
  pass(10);
  EXPECT_EQ(cmos(0x00), 0x03);
  set(0x0a, 0x26);
  clock.charge(Clock::kFrequency / 2 - 1);
  EXPECT_EQ(cmos(0x00), 0x03);
  clock.charge(1);
  EXPECT_EQ(cmos(0x00), 0x04);
}

TEST_F(RtcTest, InterruptsPeriodically) {
  for (unsigned rate = 1; rate <= 15; ++rate) {
    const uint64_t ticks = 1ull << ((rate < 3 ? rate + 7 : rate) - 1);
    set(0x0a, static_cast<uint8_t>(0x20 | rate));
    cmos(0x0c);
    set(0x0b, 0x42);
    pass_to_interrupt();
    EXPECT_EQ(cmos(0x0c) & 0xc0, 0xc0);
    EXPECT_FALSE(irq) << "it was acknowledged";
    EXPECT_EQ(cmos(0x0c), 0x00);
    uint64_t passed = 0;
    for (int i = 0; i < 16; ++i) {
      passed += pass_to_interrupt();
      cmos(0x0c);
    }
    EXPECT_NEAR(static_cast<double>(passed),
                static_cast<double>(16 * ticks * Clock::kFrequency / Rtc::kFrequency), 2)
        << rate;
    set(0x0b, 0x02);
    EXPECT_EQ(bus.deadline(), EventQueue::kNever);
  }
  set(0x0a, 0x20);
  set(0x0b, 0x42);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever) << "rate 0 is none";
}

TEST_F(RtcTest, InterruptsWhenAnUpdateHasEnded) {
  set(0x0b, 0x12);
  EXPECT_EQ(pass_to_interrupt(), Clock::kFrequency);
  EXPECT_EQ(cmos(0x00), 0x01);
  EXPECT_EQ(cmos(0x0c) & 0xb0, 0x90);
  EXPECT_EQ(pass_to_interrupt(), Clock::kFrequency);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever) << "until it is acknowledged";
  cmos(0x0c);
  set(0x0b, 0x92);
  EXPECT_EQ(cmos(0x0b), 0x82) << "SET clears UIE";
}

TEST_F(RtcTest, TheAlarmGoesOff) {
  set(0x01, 0x07), set(0x03, 0x30), set(0x05, 0x02);
  set(0x0b, 0x22);
  EXPECT_EQ(pass_to_interrupt(), (2 * 3600 + 30 * 60 + 7) * Clock::kFrequency);
  EXPECT_EQ(cmos(0x0c) & 0xa0, 0xa0);
  EXPECT_EQ(pass_to_interrupt(), 86400 * Clock::kFrequency) << "once a day";
  cmos(0x0c);
  set(0x05, 0xff), set(0x03, 0xc0);
  EXPECT_EQ(pass_to_interrupt(), 60 * Clock::kFrequency) << "each minute";
  cmos(0x0c);
  set(0x01, 0xd0);
  EXPECT_EQ(pass_to_interrupt(), Clock::kFrequency) << "each second";
  cmos(0x0c);
  set(0x01, 0x77);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever) << "never";
}

TEST_F(RtcTest, AFlagThatIsEnabledLaterInterruptsAtOnce) {
  pass(2);
  set(0x0b, 0x12);
  EXPECT_TRUE(irq);
}

TEST_F(RtcTest, GoesOnAfterALoad) {
  set_time(0x32);
  set(0x01, 0x00), set(0x03, 0x00), set(0x05, 0x00);
  pass(1);
  const auto saved = saved_bytes([&](Archive& archive) {
    device.serialize(archive);
    bus.timers().serialize(archive);
  });
  EventQueue timers;
  InterruptLines others;
  Rtc other(clock, timers, 1, others.source(8));
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) {
    other.serialize(archive);
    timers.serialize(archive);
  }));
  EXPECT_EQ(timers.deadline(), bus.deadline());
  clock.charge(Clock::kFrequency);
  for (Rtc* rtc : {&device, &other}) {
    for (uint32_t index = 0; index < 128; ++index) {
      device.write_port({0, 0}, 1, index);
      rtc->write_port({0, 0}, 1, index);
      if (index == 0x0c) continue;  // reading it changes it
      EXPECT_EQ(rtc->read_port({0, 1}, 1), device.read_port({0, 1}, 1)) << index;
    }
  }
  EXPECT_EQ(saved_bytes([&](Archive& archive) { other.serialize(archive); }),
            saved_bytes([&](Archive& archive) { device.serialize(archive); }));
}

}  // namespace
}  // namespace nestor::emu
