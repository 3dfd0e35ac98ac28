// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/acpi/hpet.h"

#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kRegisters = 0xfed00000, kConfigRegister = 0x10, kStatusRegister = 0x20,
                   kCounterRegister = 0xf0;
constexpr uint64_t kTick = Hpet::kCyclesPerTick;
// Of a timer's configuration.
constexpr uint64_t kLevelBit = 1 << 1, kEnableBit = 1 << 2, kPeriodicBit = 1 << 3,
                   kSetValueBit = 1 << 6, k32Bit = 1 << 8;

constexpr uint64_t config_of(unsigned timer) { return 0x100 + 0x20 * timer; }
constexpr uint64_t comparator_of(unsigned timer) { return 0x108 + 0x20 * timer; }
constexpr uint64_t routed_to(uint64_t line) { return line << 9; }

class HpetTest : public testing::Test {
 protected:
  HpetTest() {
    lines.lead_to([this](unsigned line, bool is_high) {
      if (is_high && !high[line]) rises.emplace_back(line, clock.cycles());
      high[line] = is_high;
    });
  }
  uint64_t in(uint64_t offset, unsigned size = 8) {
    return bus.read_memory(kRegisters + offset, size);
  }
  void out(uint64_t offset, uint64_t value, unsigned size = 8) {
    bus.write_memory(kRegisters + offset, size, value);
  }
  // Stops at each deadline.
  void pass(uint64_t ticks) {
    const uint64_t end = clock.cycles() + ticks * kTick;
    while (bus.deadline() <= end) {
      clock.advance_to(bus.deadline());
      bus.expire(clock.cycles());
    }
    clock.advance_to(end);
  }
  std::vector<std::pair<unsigned, uint64_t>> rises_since() { return std::exchange(rises, {}); }

  using Rises = std::vector<std::pair<unsigned, uint64_t>>;
  Bus bus;
  Clock clock;
  InterruptLines lines;
  std::array<bool, InterruptLines::kCount> high{};
  Rises rises;  // the line, and when
  Hpet device{clock, bus.timers(), lines};
  const std::vector<Claim> claims = test::plug(bus, device, "HPET");
};

TEST_F(HpetTest, SaysWhatItIs) {
  EXPECT_EQ(in(0), 0x009896808086a201u) << "10 ns a tick, three timers of 64 bits";
  EXPECT_EQ(in(4, 4), 10'000'000u);
  out(0, 0);
  EXPECT_EQ(in(0, 4), 0x8086a201u);
  for (unsigned timer = 0; timer < 3; ++timer) {
    EXPECT_EQ(in(config_of(timer)), 0x00f0000000000030u) << timer;
    EXPECT_EQ(in(comparator_of(timer)), ~0ull) << timer;
  }
  EXPECT_EQ(in(config_of(3)), 0u);
  EXPECT_EQ(in(comparator_of(0) + 8), 0u) << "no messages";
}

TEST_F(HpetTest, TheCounterCountsWhileItIsEnabled) {
  pass(5);
  EXPECT_EQ(in(kCounterRegister), 0u);
  out(kCounterRegister, 0xfffffffe);
  out(kConfigRegister, 1);
  pass(3);
  EXPECT_EQ(in(kCounterRegister), 0x100000001u);
  EXPECT_EQ(in(kCounterRegister, 4), 1u);
  EXPECT_EQ(in(kCounterRegister + 4, 4), 1u);
  clock.charge(kTick - 1);
  EXPECT_EQ(in(kCounterRegister), 0x100000001u);
  clock.charge(1);
  EXPECT_EQ(in(kCounterRegister), 0x100000002u);
  out(kConfigRegister, 0);
  pass(10);
  EXPECT_EQ(in(kCounterRegister), 0x100000002u);
  out(kCounterRegister + 4, 0, 4);
  EXPECT_EQ(in(kCounterRegister), 2u);
}

TEST_F(HpetTest, OnlyAlignedWordsReachRegisters) {
  out(kConfigRegister, 1, 1);
  out(kConfigRegister + 2, 1, 4);
  out(kConfigRegister + 4, 1, 4);
  EXPECT_EQ(in(kConfigRegister), 0u);
  EXPECT_EQ(in(0, 2), 0u);
  out(kConfigRegister, 0xfffffffc);
  EXPECT_EQ(in(kConfigRegister), 0u) << "reserved bits";
}

TEST_F(HpetTest, AOneShotTimerInterruptsOnce) {
  out(config_of(2), kEnableBit | routed_to(21));
  EXPECT_EQ(in(config_of(2), 4), kEnableBit | routed_to(21) | 0x30);
  out(comparator_of(2), 100);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever) << "the counter stands still";
  out(kConfigRegister, 1);
  pass(1000);
  EXPECT_EQ(rises_since(), (Rises{{21, 100 * kTick}}));
  EXPECT_FALSE(high[21]) << "an edge";
  EXPECT_EQ(in(kStatusRegister), 0u);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever);
  out(comparator_of(2), 900);
  pass(1000);
  EXPECT_EQ(rises_since(), Rises{}) << "that was before";
}

TEST_F(HpetTest, ATimerWithoutAnInterruptOrALineIsQuiet) {
  out(kConfigRegister, 1);
  out(config_of(0), routed_to(20));
  out(comparator_of(0), 10);
  out(config_of(1), kEnableBit);
  out(comparator_of(1), 20);
  EXPECT_EQ(bus.deadline(), EventQueue::kNever);
  pass(100);
  EXPECT_EQ(rises_since(), Rises{});
}

TEST_F(HpetTest, OnlyLinesThatItHasAreTaken) {
  out(config_of(0), routed_to(22));
  for (const uint64_t line : {0, 2, 8, 19, 24, 31}) {
    out(config_of(0), routed_to(line));
    EXPECT_EQ(in(config_of(0), 4), routed_to(22) | 0x30) << line;
  }
}

TEST_F(HpetTest, ALevelStaysUntilItsStatusIsCleared) {
  out(kConfigRegister, 1);
  for (const unsigned timer : {0, 1}) {
    out(config_of(timer), kEnableBit | kLevelBit | routed_to(20));
    out(comparator_of(timer), 50 + 50 * timer);
  }
  pass(200);
  EXPECT_EQ(rises_since(), (Rises{{20, 50 * kTick}})) << "they share it";
  EXPECT_EQ(in(kStatusRegister), 3u);
  out(kStatusRegister, 1);
  EXPECT_TRUE(high[20]);
  out(kStatusRegister, 0);
  EXPECT_EQ(in(kStatusRegister), 2u);
  out(kStatusRegister, 6);
  EXPECT_FALSE(high[20]);
  EXPECT_EQ(in(kStatusRegister), 0u);
}

TEST_F(HpetTest, TheStatusIsSetWithoutInterruptsToo) {
  out(kConfigRegister, 1);
  out(config_of(1), kLevelBit | routed_to(23));
  out(comparator_of(1), 10);
  pass(20);
  EXPECT_EQ(in(kStatusRegister), 2u);
  EXPECT_FALSE(high[23]);
  out(config_of(1), kLevelBit | kEnableBit | routed_to(23));
  EXPECT_TRUE(high[23]);
  out(config_of(1), kEnableBit | routed_to(23));
  EXPECT_FALSE(high[23]);
  EXPECT_EQ(in(kStatusRegister), 0u) << "it is of a level";
}

TEST_F(HpetTest, APeriodicTimerGoesOn) {
  out(kConfigRegister, 1);
  out(config_of(0), kEnableBit | kPeriodicBit | kSetValueBit | routed_to(20));
  out(comparator_of(0), 100);
  EXPECT_EQ(in(config_of(0)) & kSetValueBit, 0u) << "it clears itself";
  out(comparator_of(0), 30);
  EXPECT_EQ(in(comparator_of(0)), 100u) << "that was the period";
  pass(200);
  EXPECT_EQ(rises_since(),
            (Rises{{20, 100 * kTick}, {20, 130 * kTick}, {20, 160 * kTick}, {20, 190 * kTick}}));
  EXPECT_EQ(in(comparator_of(0)), 220u);
  out(config_of(0), kPeriodicBit | routed_to(20));
  EXPECT_EQ(bus.deadline(), EventQueue::kNever);
  pass(1000);
  EXPECT_EQ(in(comparator_of(0)), 1210u) << "it goes on without interrupts";
}

TEST_F(HpetTest, TheHalvesOfAPeriodicComparatorBelongTogether) {
  const auto out_halves = [&](uint64_t value) {
    out(comparator_of(0), value & 0xffffffff, 4);
    out(comparator_of(0) + 4, value >> 32, 4);
  };
  out(kCounterRegister, 0x3'fffffff0);
  out(kConfigRegister, 1);
  out(config_of(0), kEnableBit | kPeriodicBit | kSetValueBit | routed_to(20));
  out_halves(0x4'00000010);
  EXPECT_EQ(in(comparator_of(0)), 0x4'00000010u);
  out_halves(8);
  EXPECT_EQ(in(comparator_of(0)), 0x4'00000010u) << "that was the period";
  pass(0x30);
  EXPECT_EQ(rises_since(), (Rises{{20, 0x20 * kTick}, {20, 0x28 * kTick}, {20, 0x30 * kTick}}));
}

TEST_F(HpetTest, A32BitTimerWraps) {
  out(kCounterRegister, 0x5'fffffff0);
  out(kConfigRegister, 1);
  out(config_of(1), kEnableBit | k32Bit | routed_to(20));
  out(comparator_of(1), 0x10);
  EXPECT_EQ(in(comparator_of(1)), 0x10u);
  pass(100);
  EXPECT_EQ(rises_since(), (Rises{{20, 0x20 * kTick}}));
  pass(1ull << 32);
  EXPECT_EQ(rises_since(), (Rises{{20, ((1ull << 32) + 0x20) * kTick}}));
  out(comparator_of(1), 0x1234'0000'0001);
  EXPECT_EQ(in(comparator_of(1)), 1u) << "32 bits";
}

TEST_F(HpetTest, TheLegacyRouteReplacesTheOtherTimers) {
  InterruptSource pit = lines.replaceable_source(0), rtc = lines.replaceable_source(8);
  pit.set(true);
  rises_since();
  out(config_of(0), kEnableBit | routed_to(20));
  out(config_of(1), kEnableBit);
  out(config_of(2), kEnableBit | routed_to(22));
  for (const unsigned timer : {0, 1, 2}) out(comparator_of(timer), 10 + timer);
  out(kConfigRegister, 3);
  EXPECT_FALSE(high[0]);
  pit.set(true);
  rtc.set(true);
  EXPECT_EQ(rises_since(), Rises{});
  pass(20);
  EXPECT_EQ(rises_since(), (Rises{{0, 10 * kTick}, {8, 11 * kTick}, {22, 12 * kTick}}));
  EXPECT_TRUE(high[0]) << "an 8259 wants it to stay";
  out(comparator_of(0), 30);
  pass(20);
  EXPECT_EQ(rises_since(), (Rises{{0, 30 * kTick}}));
  out(kConfigRegister, 1);
  EXPECT_TRUE(high[0]) << "the others drive them again";
  EXPECT_TRUE(high[8]);
}

TEST_F(HpetTest, GoesOnAfterALoad) {
  out(kConfigRegister, 3);
  out(config_of(0), kEnableBit | kPeriodicBit | kSetValueBit);
  out(comparator_of(0), 100);
  out(config_of(2), kEnableBit | kLevelBit | routed_to(21));
  out(comparator_of(2), 50);
  pass(75);
  const auto save = [](Device& hpet, EventQueue& timers) {
    return saved_bytes([&](Archive& archive) {
      hpet.serialize(archive);
      timers.serialize(archive);
    });
  };
  const auto saved = save(device, bus.timers());
  EventQueue timers;
  InterruptLines others;
  Hpet other(clock, timers, others);
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) {
    other.serialize(archive);
    timers.serialize(archive);
  }));
  std::vector<std::pair<unsigned, bool>> told;
  others.lead_to([&](unsigned line, bool level) { told.emplace_back(line, level); });
  others.replaceable_source(0).set(true);
  EXPECT_TRUE(told.empty()) << "it is still replaced";
  EXPECT_EQ(timers.deadline(), 100 * kTick);
  clock.advance_to(100 * kTick);
  timers.expire(clock.cycles());
  bus.expire(clock.cycles());
  EXPECT_EQ(told, (std::vector<std::pair<unsigned, bool>>{{0, false}, {0, true}}));
  EXPECT_EQ(save(other, timers), save(device, bus.timers()));
}

TEST_F(HpetTest, WhatIsImpossibleIsNotLoaded) {
  auto saved = saved_bytes([&](Archive& archive) { device.serialize(archive); });
  saved[0] = 4;  // a reserved bit of the configuration
  EventQueue timers;
  Hpet other(clock, timers, lines);
  EXPECT_FALSE(load_bytes(saved, [&](Archive& archive) { other.serialize(archive); }));
}

}  // namespace
}  // namespace nestor::emu
