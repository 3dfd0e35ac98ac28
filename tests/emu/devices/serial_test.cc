// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/serial.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

enum Port : uint16_t { kData = 0x3f8, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScratch };

class SerialTest : public testing::Test {
 protected:
  SerialTest() {
    lines.lead_to([this](unsigned number, bool level) {
      EXPECT_EQ(number, 4u);
      line = level;
    });
  }
  void out(uint16_t port, uint8_t value) { bus.write_port(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(bus.read_port(port, 1)); }

  Bus bus;
  Clock clock;
  std::string printed, typed;
  bool line = false;
  InterruptLines lines;
  Serial serial{
      clock, bus.timers(),    "COM1", [this](uint8_t byte) { printed += static_cast<char>(byte); },
      {},    lines.source(4), true};
  const std::vector<Claim> claims = test::plug(bus, serial, "COM1");
};

TEST_F(SerialTest, PrintsAndIsAlwaysReady) {
  for (const char c : std::string("hello")) {
    EXPECT_EQ(in(kLsr), 0x60);
    out(kData, static_cast<uint8_t>(c));
  }
  EXPECT_EQ(printed, "hello");
}

TEST_F(SerialTest, DivisorLatchHidesDataAndInterruptEnable) {
  out(kIer, 0x05);
  out(kLcr, 0x83);
  out(kData, 0x01);
  out(kIer, 0x02);
  EXPECT_EQ(in(kData), 0x01);
  EXPECT_EQ(in(kIer), 0x02);
  EXPECT_EQ(printed, "");
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0x05);
  EXPECT_EQ(in(kLcr), 0x03);
}

TEST_F(SerialTest, ScratchAndReservedBits) {
  out(kScratch, 0xa5);
  EXPECT_EQ(in(kScratch), 0xa5);
  out(kIer, 0xff);
  EXPECT_EQ(in(kIer), 0x0f);
  out(kMcr, 0xff);
  EXPECT_EQ(in(kMcr), 0x1f);
}

TEST_F(SerialTest, TransmitterInterruptIsAcknowledgedByItsIdentification) {
  out(kMcr, 0x08);
  EXPECT_EQ(in(kIir), 0x01);
  out(kIer, 0x02);
  EXPECT_TRUE(line);
  EXPECT_EQ(in(kIir), 0x02);
  EXPECT_FALSE(line);
  EXPECT_EQ(in(kIir), 0x01);
  out(kData, 'x');
  EXPECT_TRUE(line);
  out(kIer, 0x00);
  EXPECT_FALSE(line);
}

TEST_F(SerialTest, Out2GatesTheLine) {
  out(kIer, 0x02);
  EXPECT_FALSE(line);
  out(kMcr, 0x08);
  EXPECT_TRUE(line);
}

TEST_F(SerialTest, ReceivesWithOverrun) {
  out(kMcr, 0x08);
  out(kIer, 0x05);
  serial.receive('a');
  EXPECT_TRUE(line);
  EXPECT_EQ(in(kIir), 0x04);
  serial.receive('b');  // no FIFO: nowhere to put it
  EXPECT_EQ(in(kIir), 0x06);
  EXPECT_EQ(in(kLsr), 0x63);
  EXPECT_EQ(in(kLsr), 0x61);
  EXPECT_EQ(in(kData), 'a');
  EXPECT_EQ(in(kLsr), 0x60);
  EXPECT_FALSE(line);
}

TEST_F(SerialTest, FifoHoldsSixteen) {
  out(kIir, 0x01);
  EXPECT_EQ(in(kIir)&0xc0, 0xc0);
  for (uint8_t i = 0; i < 16; ++i) serial.receive(i);
  EXPECT_EQ(in(kLsr)&0x02, 0);
  for (uint8_t i = 0; i < 16; ++i) EXPECT_EQ(in(kData), i);
  serial.receive(9);
  out(kIir, 0x03);  // clear the receiver
  EXPECT_EQ(in(kLsr), 0x60);
}

TEST_F(SerialTest, LoopbackReturnsDataAndModemLines) {
  EXPECT_EQ(in(kMsr), 0xb0);
  out(kMcr, 0x1a);
  out(kData, 0x5a);
  EXPECT_EQ(in(kLsr), 0x61);
  EXPECT_EQ(in(kData), 0x5a);
  EXPECT_EQ(printed, "");
  EXPECT_EQ(in(kMsr)&0xf0, 0x90);  // RTS to CTS, OUT2 to DCD
  EXPECT_EQ(in(kMsr)&0x0f, 0);     // the changes were read
}

// --- what arrives on its line

class SerialInputTest : public SerialTest {
 protected:
  static constexpr uint64_t kByte = 10 * (Clock::kFrequency / 115'200);  // at divisor 1
  void plug_in(std::string text, bool live) {
    typed = std::move(text);
    port.emplace(clock, other.timers(), "COM1", Serial::Sink(),
                 SerialInput{[this]() -> std::optional<uint8_t> {
                               ++asked;
                               if (typed.empty()) return std::nullopt;
                               const auto first = static_cast<uint8_t>(typed.front());
                               typed.erase(0, 1);
                               return first;
                             },
                             live},
                 lines.source(4), true);
    claimed = test::plug(other, *port, "COM1");
    write(kLcr, 0x83);
    write(kData, 1);
    write(kLcr, 0x03);
    write(kMcr, 0x08);
  }
  void write(uint16_t at, uint8_t value) { other.write_port(at, 1, value); }
  uint8_t read(uint16_t at) { return static_cast<uint8_t>(other.read_port(at, 1)); }
  void wait(uint64_t cycles) {
    clock.charge(cycles);
    if (other.deadline() <= clock.cycles()) other.expire(clock.cycles());
  }

  Bus other;
  std::optional<Serial> port;
  std::vector<Claim> claimed;
  unsigned asked = 0;
};

TEST_F(SerialInputTest, ComesOnceTheGuestListensAndAtTheSpeedOfTheLine) {
  plug_in("ab", false);
  wait(1'000'000);
  EXPECT_EQ(asked, 0u);
  EXPECT_EQ(read(kLsr) & 1, 0);
  write(kIer, 0x01);
  wait(kByte - 1);
  EXPECT_FALSE(line);
  wait(1);
  EXPECT_TRUE(line);
  EXPECT_EQ(read(kIir) & 0x0f, 0x04);
  wait(1'000'000);
  EXPECT_EQ(asked, 1u) << "the first one was not read yet";
  EXPECT_EQ(read(kData), 'a');
  EXPECT_FALSE(line);
  wait(kByte);
  EXPECT_EQ(read(kData), 'b');
  EXPECT_EQ(read(kLsr) & 0x02, 0) << "nothing was lost";
}

TEST_F(SerialInputTest, AGuestThatPollsListens) {
  plug_in("ab", false);
  for (unsigned i = 0; i < 40; ++i) {
    (void)read(kLsr);
    if (i % 10 == 9) write(kData, 'x');  // it has waited for the transmitter
  }
  wait(kByte);
  EXPECT_EQ(asked, 0u);
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(read(kLsr) & 1, 0);
  wait(kByte);
  EXPECT_EQ(read(kLsr) & 1, 1);
  EXPECT_EQ(read(kData), 'a');
  wait(kByte);
  EXPECT_EQ(read(kData), 'b');
  EXPECT_FALSE(line);
}

TEST_F(SerialInputTest, AFileEnds) {
  plug_in("", false);
  write(kIer, 0x01);
  wait(kByte);
  EXPECT_EQ(asked, 1u);
  EXPECT_EQ(read(kLsr) & 1, 0);
  EXPECT_EQ(other.deadline(), EventQueue::kNever);
}

TEST_F(SerialInputTest, AKeyboardIsAskedAgain) {
  plug_in("", true);
  write(kIer, 0x01);
  wait(kByte);
  wait(Clock::kFrequency / 100);
  EXPECT_EQ(asked, 2u);
  typed = "x";
  wait(Clock::kFrequency / 100);
  EXPECT_EQ(read(kData), 'x');
  write(kIer, 0x00);
  wait(Clock::kFrequency);
  const unsigned before = asked;
  wait(Clock::kFrequency);
  EXPECT_EQ(asked, before) << "only while the guest listens";
}

TEST(FurtherSerialTest, WithoutATerminalItsLinesAreLow) {
  Bus bus;
  Clock clock;
  InterruptLines lines;
  Serial alone(clock, bus.timers(), "COM2", nullptr, {}, lines.source(3), false);
  const auto claims = test::plug(bus, alone, "COM2");
  EXPECT_EQ(bus.read_port(0x2fe, 1), 0u);
  EXPECT_EQ(bus.read_port(0x2fd, 1), 0x60u) << "it takes what is written";
  bus.write_port(0x2f8, 1, 'a');
  bus.write_port(0x2fc, 1, 0x1b);  // loopback
  EXPECT_EQ(bus.read_port(0x2fe, 1) & 0xf0, 0xb0u);
  bus.write_port(0x2f8, 1, 'b');
  EXPECT_EQ(bus.read_port(0x2f8, 1), uint32_t{'b'});
}

TEST(FurtherSerialTest, AllFourAreOnTheBoard) {
  Clock clock;
  Bus bus;
  BoardOutputs outputs;
  std::string printed;
  outputs.further_serial[1] = [&](uint8_t byte) { printed += static_cast<char>(byte); };
  Board board(pc_board(), BoardKind::kNative, {}, outputs, bus, clock);
  std::vector<unsigned> interrupted;
  board.lines().lead_to([&](unsigned line, bool level) {
    if (level) interrupted.push_back(line);
  });
  const struct {
    uint16_t base;
    uint32_t modem;
  } kPorts[] = {{0x3f8, 0xb0}, {0x2f8, 0}, {0x3e8, 0xb0}, {0x2e8, 0}};
  for (const auto& port : kPorts) {
    EXPECT_EQ(bus.read_port(port.base + 6, 1), port.modem) << port.base;
    bus.write_port(port.base, 1, 'x');
    bus.write_port(port.base + 4, 1, 0x08);
    bus.write_port(port.base + 1, 1, 0x02);
  }
  EXPECT_EQ(interrupted, (std::vector<unsigned>{4, 3, 4, 3}));
  EXPECT_EQ(printed, "x");
}

}  // namespace
}  // namespace nestor::emu
