// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/time/prices.h"

#include <gtest/gtest.h>

#include "emu/memory/archive.h"

namespace nestor::emu {
namespace {

TEST(Prices, ChargeTheClockByTheList) {
  Clock clock;
  Prices prices(clock);
  prices.list.instruction = 3;
  prices.list.walk_reference = 5;
  prices.charge_instructions(10);
  prices.refund_instructions(4);
  EXPECT_EQ(prices.instructions(), 6u);
  EXPECT_EQ(clock.cycles(), 18u);
  prices.charge_walk(4);
  EXPECT_EQ(clock.cycles(), 38u);
  prices.charge(&PriceList::vm_exit);
  EXPECT_EQ(clock.cycles(), 38u + prices.list.vm_exit);
  prices.charge(&PriceList::rdtsc, 3);
  EXPECT_EQ(clock.cycles(), 38u + prices.list.vm_exit + 3 * prices.list.rdtsc);
  EXPECT_EQ(prices.instructions(), 6u);
}

TEST(Prices, ATimeThatNoRunReachesIsRefused) {
  const auto loads = [](uint64_t cycles, uint64_t instructions) {
    const auto state = saved_bytes([&](Archive& archive) { archive(cycles, instructions); });
    Clock clock;
    Prices prices(clock);
    return load_bytes(state, [&](Archive& archive) {
      clock.serialize(archive);
      prices.serialize(archive);
    });
  };
  EXPECT_TRUE(loads(1ull << 61, 1ull << 60));
  EXPECT_FALSE(loads(~0ull - 1000, 5));
  EXPECT_FALSE(loads(5, 1ull << 63));
}

}  // namespace
}  // namespace nestor::emu
