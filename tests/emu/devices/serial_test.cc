// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/serial.h"

#include <gtest/gtest.h>

#include <string>

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
  std::string printed;
  bool line = false;
  InterruptLines lines;
  Serial serial{[this](uint8_t byte) { printed += static_cast<char>(byte); }, lines.source(4)};
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

}  // namespace
}  // namespace nestor::emu
