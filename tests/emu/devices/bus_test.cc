// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/bus.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nestor::emu {
namespace {

// Remembers accesses as text, and answers with the address in every byte.
class Recorder : public Device {
 public:
  explicit Recorder(unsigned widest = 4) : widest_(widest) {}
  std::string_view name() const override { return "recorder"; }
  unsigned widest_port_access() const override { return widest_; }
  uint32_t read_port(uint16_t port, unsigned size) override {
    note("in", port, size);
    return 0x01010101u * (port & 0xff);
  }
  void write_port(uint16_t port, unsigned size, uint32_t value) override {
    note("out", port, size, value);
  }
  uint64_t read_memory(uint64_t offset, unsigned size) override {
    note("read", offset, size);
    return 0x0101010101010101 * (offset & 0xff);
  }
  void write_memory(uint64_t offset, unsigned size, uint64_t value) override {
    note("write", offset, size, value);
  }
  uint64_t deadline() const override { return due; }
  void expire(uint64_t now) override {
    note("expire", now, 0);
    due = kNever;
  }

  std::vector<std::string> accesses;
  uint64_t due = kNever;

 private:
  void note(std::string what, uint64_t where, unsigned size, uint64_t value = 0) {
    accesses.push_back(what + " " + std::to_string(where) + "/" + std::to_string(size) + "=" +
                       std::to_string(value));
  }
  unsigned widest_;
};

using Accesses = std::vector<std::string>;

TEST(BusTest, RefusesOverlappingPortRanges) {
  Bus bus;
  Recorder device;
  EXPECT_TRUE(bus.claim_ports(0x100, 8, device));
  EXPECT_FALSE(bus.claim_ports(0x107, 1, device));
  EXPECT_FALSE(bus.claim_ports(0xff, 2, device));
  EXPECT_FALSE(bus.claim_ports(0x80, 0x1000, device));
  EXPECT_FALSE(bus.claim_ports(0x102, 2, device));
  EXPECT_TRUE(bus.claim_ports(0x108, 1, device));
  EXPECT_TRUE(bus.claim_ports(0xff, 1, device));
}

TEST(BusTest, RefusesEmptyAndWrappingRanges) {
  Bus bus;
  Recorder device;
  EXPECT_FALSE(bus.claim_ports(0x10, 0, device));
  EXPECT_FALSE(bus.claim_ports(0xffff, 2, device));
  EXPECT_TRUE(bus.claim_ports(0xffff, 1, device));
  EXPECT_FALSE(bus.claim_memory(~0ull, 2, device));
  EXPECT_TRUE(bus.claim_memory(~0ull, 1, device));
}

TEST(BusTest, UnclaimedAccessesReadAsOnesAndAreReported) {
  Bus bus;
  std::vector<UnclaimedAccess> seen;
  bus.on_unclaimed = [&](const UnclaimedAccess& access) { seen.push_back(access); };
  EXPECT_EQ(bus.read_port(0x300, 1), 0xffu);
  EXPECT_EQ(bus.read_port(0x300, 2), 0xffffu);
  EXPECT_EQ(bus.read_port(0x300, 4), 0xffffffffu);
  EXPECT_EQ(bus.read_memory(0xd0000000, 8), ~0ull);
  bus.write_port(0x301, 2, 0x12345);
  bus.write_memory(0xd0000004, 4, 7);
  ASSERT_EQ(seen.size(), 6u);
  EXPECT_FALSE(seen[0].memory);
  EXPECT_FALSE(seen[0].write);
  EXPECT_TRUE(seen[3].memory);
  EXPECT_EQ(seen[3].size, 8u);
  EXPECT_TRUE(seen[4].write);
  EXPECT_EQ(seen[4].address, 0x301u);
  EXPECT_EQ(seen[4].value, 0x2345u);
  EXPECT_TRUE(seen[5].memory && seen[5].write);
}

TEST(BusTest, SplitsWhatIsWiderThanTheDevice) {
  Bus bus;
  Recorder device(1);
  ASSERT_TRUE(bus.claim_ports(0x20, 4, device));
  EXPECT_EQ(bus.read_port(0x20, 4), 0x23222120u);
  bus.write_port(0x20, 2, 0xabcd);
  EXPECT_EQ(device.accesses, (Accesses{"in 32/1=0", "in 33/1=0", "in 34/1=0", "in 35/1=0",
                                       "out 32/1=205", "out 33/1=171"}));
}

TEST(BusTest, SplitsWhatNoSingleRangeHolds) {
  Bus bus;
  Recorder device;
  int unclaimed = 0;
  bus.on_unclaimed = [&](const UnclaimedAccess& access) {
    ++unclaimed;
    EXPECT_EQ(access.size, 1u);
  };
  ASSERT_TRUE(bus.claim_ports(0x11, 1, device));
  EXPECT_EQ(bus.read_port(0x10, 4), 0xffff11ffu);
  EXPECT_EQ(unclaimed, 3);
  ASSERT_TRUE(bus.claim_memory(0x1002, 2, device));
  EXPECT_EQ(bus.read_memory(0x1000, 4), 0x0100ffffu);
  EXPECT_EQ(unclaimed, 5);
}

TEST(BusTest, PassesOffsetsAndWholeAccesses) {
  Bus bus;
  Recorder device;
  ASSERT_TRUE(bus.claim_memory(0xfee00000, 0x1000, device));
  EXPECT_EQ(bus.read_memory(0xfee00003, 4), 0x03030303u);
  bus.write_memory(0xfee00ff8, 8, 5);
  EXPECT_EQ(device.accesses, (Accesses{"read 3/4=0", "write 4088/8=5"}));
}

TEST(BusTest, ExpiresWhatIsDueInOrder) {
  Bus bus;
  Recorder first, second;
  bus.add_timed(first);
  bus.add_timed(second);
  EXPECT_EQ(bus.deadline(), Device::kNever);
  first.due = 300;
  second.due = 200;
  EXPECT_EQ(bus.deadline(), 200u);
  bus.expire(250);
  EXPECT_EQ(first.accesses, Accesses{});
  EXPECT_EQ(second.accesses, (Accesses{"expire 250/0=0"}));
  EXPECT_EQ(bus.deadline(), 300u);
}

}  // namespace
}  // namespace nestor::emu
