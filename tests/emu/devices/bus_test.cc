// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

// Remembers accesses as text, and answers with the address in every byte.
class Recorder : public Device {
 public:
  explicit Recorder(Region region, unsigned widest = 4) : regions_{region}, widest_(widest) {}
  std::span<const Region> regions() const override { return regions_; }
  unsigned widest_port_access() const override { return widest_; }
  uint32_t read_port(DeviceAddress at, unsigned size) override {
    note("in", at, size);
    return 0x01010101u * (at.offset & 0xff);
  }
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override {
    note("out", at, size, value);
  }
  uint64_t read_memory(DeviceAddress at, unsigned size) override {
    note("read", at, size);
    return 0x0101010101010101 * (at.offset & 0xff);
  }
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override {
    note("write", at, size, value);
  }

  std::vector<std::string> accesses;

 private:
  void note(std::string what, DeviceAddress at, unsigned size, uint64_t value = 0) {
    accesses.push_back(what + " " + std::to_string(at.offset) + "/" + std::to_string(size) + "=" +
                       std::to_string(value));
  }
  std::array<Region, 1> regions_;
  unsigned widest_;
};

constexpr Region ports(uint64_t size) { return {Space::kPorts, size}; }
constexpr Region memory(uint64_t size) { return {Space::kMemory, size}; }

using Accesses = std::vector<std::string>;

class ClaimTest : public testing::Test {
 protected:
  // Whether a region fits at the base, beside what is there already.
  bool fits(Region region, uint64_t base) {
    Recorder device(region);
    return Claim(bus, device, 0).move_to(base);
  }
  Bus bus;
};

TEST_F(ClaimTest, RefusesOverlappingPortRanges) {
  Recorder device(ports(8));
  Claim claim(bus, device, 0);
  EXPECT_TRUE(claim.move_to(0x100));
  EXPECT_FALSE(fits(ports(1), 0x107));
  EXPECT_FALSE(fits(ports(2), 0xff));
  EXPECT_FALSE(fits(ports(0x1000), 0x80));
  EXPECT_FALSE(fits(ports(2), 0x102));
  EXPECT_TRUE(fits(ports(1), 0x108));
  EXPECT_TRUE(fits(ports(1), 0xff));
  EXPECT_TRUE(fits(memory(8), 0x100)) << "another space";
}

TEST_F(ClaimTest, RefusesEmptyAndWrappingRanges) {
  EXPECT_FALSE(fits(ports(0), 0x10));
  EXPECT_FALSE(fits(ports(2), 0xffff));
  EXPECT_FALSE(fits(ports(1), 0x10000));
  EXPECT_TRUE(fits(ports(1), 0xffff));
  EXPECT_TRUE(fits(ports(0x10000), 0));
  EXPECT_FALSE(fits(memory(2), ~0ull));
  EXPECT_TRUE(fits(memory(1), ~0ull));
}

TEST_F(ClaimTest, TheDeviceSeesOffsetsWhereverItIs) {
  Recorder device(memory(0x1000));
  Claim claim(bus, device, 0);
  EXPECT_EQ(claim.base(), std::nullopt);
  ASSERT_TRUE(claim.move_to(0xe0000000));
  EXPECT_EQ(bus.read_memory(0xe0000012, 1), 0x12u);
  ASSERT_TRUE(claim.move_to(0xe0000800)) << "it may overlap its own former place";
  EXPECT_EQ(claim.base(), 0xe0000800);
  EXPECT_EQ(bus.read_memory(0xe0000812, 1), 0x12u);
  EXPECT_EQ(bus.read_memory(0xe0000012, 1), 0xffu);
  claim.release();
  EXPECT_EQ(bus.read_memory(0xe0000812, 1), 0xffu);
  ASSERT_TRUE(claim.move_to(0xf0000000));
  EXPECT_EQ(bus.read_memory(0xf0000034, 1), 0x34u);
}

TEST_F(ClaimTest, StaysWhereItIsIfItCannotMove) {
  Recorder device(ports(4)), other(ports(4));
  Claim claim(bus, device, 0), taken(bus, other, 0);
  ASSERT_TRUE(claim.move_to(0x100) && taken.move_to(0x200));
  EXPECT_FALSE(claim.move_to(0x201));
  EXPECT_EQ(claim.base(), 0x100u);
  EXPECT_EQ(bus.read_port(0x103, 1), 3u);
  EXPECT_FALSE(fits(ports(1), 0x102));
}

TEST_F(ClaimTest, EndsWithTheObject) {
  Recorder device(ports(4));
  {
    Claim claim(bus, device, 0);
    ASSERT_TRUE(claim.move_to(0x100));
    const Claim moved = std::move(claim);
    EXPECT_EQ(bus.read_port(0x101, 1), 1u);
  }
  EXPECT_EQ(bus.read_port(0x101, 1), 0xffu);
}

TEST_F(ClaimTest, AllRegionsOrNone) {
  Recorder device(ports(4)), other(ports(1));
  constexpr uint64_t kBase[] = {0x100}, kTwo[] = {0x100, 0x200};
  EXPECT_TRUE(claim_all(bus, device, kTwo).empty());
  const auto claims = claim_all(bus, device, kBase);
  EXPECT_EQ(claims.size(), 1u);
  EXPECT_TRUE(claim_all(bus, other, kBase).empty());
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
  Recorder device(ports(4), 1);
  Claim claim(bus, device, 0);
  ASSERT_TRUE(claim.move_to(0x20));
  EXPECT_EQ(bus.read_port(0x20, 4), 0x03020100u);
  bus.write_port(0x20, 2, 0xabcd);
  EXPECT_EQ(device.accesses, (Accesses{"in 0/1=0", "in 1/1=0", "in 2/1=0", "in 3/1=0",
                                       "out 0/1=205", "out 1/1=171"}));
}

TEST(BusTest, SplitsWhatNoSingleRangeHolds) {
  Bus bus;
  Recorder device(ports(1)), buffer(memory(2));
  Claim port(bus, device, 0), window(bus, buffer, 0);
  int unclaimed = 0;
  bus.on_unclaimed = [&](const UnclaimedAccess& access) {
    ++unclaimed;
    EXPECT_EQ(access.size, 1u);
  };
  ASSERT_TRUE(port.move_to(0x11));
  EXPECT_EQ(bus.read_port(0x10, 4), 0xffff00ffu);
  EXPECT_EQ(unclaimed, 3);
  ASSERT_TRUE(window.move_to(0x1002));
  EXPECT_EQ(bus.read_memory(0x1000, 4), 0x0100ffffu);
  EXPECT_EQ(unclaimed, 5);
}

TEST(BusTest, PassesOffsetsAndWholeAccesses) {
  Bus bus;
  Recorder device(memory(0x1000));
  Claim claim(bus, device, 0);
  ASSERT_TRUE(claim.move_to(0xfee00000));
  EXPECT_EQ(bus.read_memory(0xfee00003, 4), 0x03030303u);
  bus.write_memory(0xfee00ff8, 8, 5);
  EXPECT_EQ(device.accesses, (Accesses{"read 3/4=0", "write 4088/8=5"}));
}

}  // namespace
}  // namespace nestor::emu
