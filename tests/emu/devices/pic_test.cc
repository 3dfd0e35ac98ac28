// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pic.h"

#include <gtest/gtest.h>

#include "emu/devices/apic/io_apic.h"
#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

class PicTest : public testing::Test {
 protected:
  PicTest() { initialize(0x01); }
  void initialize(uint8_t icw4) {
    out(0x20, 0x11), out(0x21, 0x20), out(0x21, 0x04), out(0x21, icw4);
    out(0xa0, 0x11), out(0xa1, 0x28), out(0xa1, 0x02), out(0xa1, icw4);
  }
  void out(uint16_t port, uint8_t value) { bus.write_port(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(bus.read_port(port, 1)); }
  uint8_t in_service(uint16_t port) {
    out(port, 0x0b);
    return in(port);
  }
  uint8_t requests(uint16_t port) {
    out(port, 0x0a);
    return in(port);
  }
  void pulse(unsigned irq) {
    pics.set_irq(irq, false);
    pics.set_irq(irq, true);
  }

  Bus bus;
  bool intr = false;
  PicPair pics{[this](bool level) { intr = level; }};
  const std::vector<Claim> claims = test::plug(bus, pics, "8259A interrupt controllers");
};

TEST_F(PicTest, MasksAreReadable) {
  out(0x21, 0xfb);
  out(0xa1, 0x5a);
  EXPECT_EQ(bus.read_port(0x21, 1), 0xfbu);
  EXPECT_EQ(in(0xa1), 0x5a);
  EXPECT_EQ(in_service(0x20), 0);
}

TEST_F(PicTest, DeliversAndEnds) {
  pics.set_irq(4, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(requests(0x20), 0x10);
  EXPECT_EQ(pics.acknowledge(), 0x24);
  EXPECT_FALSE(intr);
  EXPECT_EQ(requests(0x20), 0);
  EXPECT_EQ(in_service(0x20), 0x10);
  pics.set_irq(5, true);
  EXPECT_FALSE(intr);  // lower priority waits
  pics.set_irq(1, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x21);
  out(0x20, 0x20);
  EXPECT_EQ(in_service(0x20), 0x10);
  EXPECT_FALSE(intr);
  out(0x20, 0x64);  // specific
  EXPECT_EQ(in_service(0x20), 0);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x25);
}

TEST_F(PicTest, MaskHoldsBack) {
  out(0x21, 0x10);
  pics.set_irq(4, true);
  EXPECT_FALSE(intr);
  out(0x21, 0);
  EXPECT_TRUE(intr);
}

TEST_F(PicTest, CascadesTheSlave) {
  pics.set_irq(12, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x2c);
  EXPECT_EQ(in_service(0x20), 0x04);
  EXPECT_EQ(in_service(0xa0), 0x10);
  pics.set_irq(3, true);
  EXPECT_FALSE(intr);  // below the cascade
  pics.set_irq(14, true);
  out(0xa0, 0x20);
  EXPECT_FALSE(intr);  // the cascade is still in service
  out(0x20, 0x20);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x2e);
}

TEST_F(PicTest, EdgesAreNotRepeated) {
  pics.set_irq(4, true);
  pics.acknowledge();
  out(0x20, 0x20);
  pics.set_irq(4, true);
  EXPECT_FALSE(intr);
  pulse(4);
  EXPECT_TRUE(intr);
}

TEST_F(PicTest, LevelsAreRepeated) {
  out(0x4d1, 0xff);
  EXPECT_EQ(in(0x4d1), 0xde);  // the clock and the coprocessor stay edge-triggered
  out(0x4d0, 0xff);
  EXPECT_EQ(in(0x4d0), 0xf8);
  pics.set_irq(11, true);
  EXPECT_EQ(pics.acknowledge(), 0x2b);
  out(0xa0, 0x20), out(0x20, 0x20);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x2b);
  pics.set_irq(11, false);
  out(0xa0, 0x20), out(0x20, 0x20);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, WithdrawnRequestsAreSpurious) {
  pics.set_irq(4, true);
  pics.set_irq(4, false);
  EXPECT_FALSE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x27);
  EXPECT_EQ(in_service(0x20), 0);
}

TEST_F(PicTest, AutomaticEndOfInterrupt) {
  initialize(0x03);
  pics.set_irq(4, true);
  EXPECT_EQ(pics.acknowledge(), 0x24);
  EXPECT_EQ(in_service(0x20), 0);
  pics.set_irq(5, true);
  EXPECT_EQ(pics.acknowledge(), 0x25);
}

TEST_F(PicTest, RotatesPriorities) {
  pics.set_irq(3, true);
  EXPECT_EQ(pics.acknowledge(), 0x23);
  out(0x20, 0xa0);  // rotate on non-specific EOI: 3 becomes the lowest, 4 the highest
  pulse(3);
  pics.set_irq(0, true);
  pics.set_irq(7, true);
  EXPECT_EQ(pics.acknowledge(), 0x27);
  out(0x20, 0x20);
  EXPECT_EQ(pics.acknowledge(), 0x20);
  out(0x20, 0x20);
  EXPECT_EQ(pics.acknowledge(), 0x23);
  out(0x20, 0x20);
  out(0x20, 0xc7);  // set priority: 7 the lowest again
  pulse(3);
  pulse(0);
  EXPECT_EQ(pics.acknowledge(), 0x20);
}

TEST_F(PicTest, SpecialMaskLetsLowerRequestsThrough) {
  pics.set_irq(2 + 1, true);
  EXPECT_EQ(pics.acknowledge(), 0x23);
  pics.set_irq(6, true);
  EXPECT_FALSE(intr);
  out(0x21, 0x08);
  out(0x20, 0x68);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pics.acknowledge(), 0x26);
  out(0x20, 0x20);  // ends what is not masked
  EXPECT_EQ(in_service(0x20), 0x08);
}

TEST_F(PicTest, PollAcknowledges) {
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20) & 0x80, 0);
  pics.set_irq(6, true);
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20), 0x86);
  EXPECT_FALSE(intr);
  EXPECT_EQ(in_service(0x20), 0x40);
}

TEST_F(PicTest, CascadeInputCannotBeDriven) {
  pics.set_irq(2, true);
  pics.set_irq(16, true);
  EXPECT_FALSE(intr);
  EXPECT_EQ(requests(0x20), 0);
}

// --- I/O APIC

class IoApicTest : public testing::Test {
 protected:
  uint32_t read(uint8_t index) {
    bus.write_memory(0xfec00000, 4, index);
    return static_cast<uint32_t>(bus.read_memory(0xfec00010, 4));
  }
  void write(uint8_t index, uint32_t value) {
    bus.write_memory(0xfec00000, 4, index);
    bus.write_memory(0xfec00010, 4, value);
  }
  void route(unsigned pin, uint32_t low, uint32_t high = 0) {
    write(static_cast<uint8_t>(0x11 + 2 * pin), high);
    write(static_cast<uint8_t>(0x10 + 2 * pin), low);
  }

  Bus bus;
  std::vector<Ipi> sent;
  IoApic io_apic{[this](const Ipi& ipi) { sent.push_back(ipi); }};
  const std::vector<Claim> claims = test::plug(bus, io_apic, "I/O APIC");
};

TEST_F(IoApicTest, Identification) {
  EXPECT_EQ(read(1), 0x00170020u);
  write(0, 0xffffffff);
  EXPECT_EQ(read(0), 0x0f000000u);
  EXPECT_EQ(read(0x10), 0x10000u);
  EXPECT_EQ(read(0x3f), 0u);
  EXPECT_EQ(read(0x40), 0u);
}

TEST_F(IoApicTest, EdgesSendOneMessageEach) {
  route(4, 0x931, 0x03000000);
  io_apic.set_pin(4, true);
  io_apic.set_pin(4, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].vector, 0x31);
  EXPECT_EQ(sent[0].mode, DeliveryMode::kLowestPriority);
  EXPECT_TRUE(sent[0].logical);
  EXPECT_FALSE(sent[0].level);
  EXPECT_EQ(sent[0].destination, 3u);
  io_apic.set_pin(4, false);
  io_apic.set_pin(4, true);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(IoApicTest, MaskedEdgesAreLost) {
  route(4, 0x10031);
  io_apic.set_pin(4, true);
  route(4, 0x31);
  EXPECT_TRUE(sent.empty());
}

TEST_F(IoApicTest, LevelsWaitForTheirEnd) {
  route(9, 0x8031);
  io_apic.set_pin(9, true);
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_EQ(read(0x10 + 18), 0xc031u);
  io_apic.set_pin(9, false);
  io_apic.set_pin(9, true);
  EXPECT_EQ(sent.size(), 1u);
  io_apic.end_of_interrupt(0x30);
  EXPECT_EQ(sent.size(), 1u);
  io_apic.end_of_interrupt(0x31);
  EXPECT_EQ(sent.size(), 2u);  // the line is still high
  io_apic.set_pin(9, false);
  bus.write_memory(0xfec00040, 4, 0x31);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(read(0x10 + 18), 0x8031u);
}

TEST_F(IoApicTest, UnmaskedLevelIsDelivered) {
  route(9, 0x18031);
  io_apic.set_pin(9, true);
  EXPECT_TRUE(sent.empty());
  route(9, 0x8031);
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(IoApicTest, EdgeModeClearsRemoteIrr) {
  route(9, 0x8031);
  io_apic.set_pin(9, true);
  io_apic.set_pin(9, false);
  route(9, 0x10031);
  EXPECT_EQ(read(0x10 + 18), 0x10031u);
  io_apic.set_pin(24, true);
  EXPECT_EQ(sent.size(), 1u);
}

}  // namespace
}  // namespace nestor::emu
