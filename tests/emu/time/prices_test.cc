// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/time/prices.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(prices.instructions(), 6u);
}

}  // namespace
}  // namespace nestor::emu
