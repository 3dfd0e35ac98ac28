// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/apic/apic_network.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace nestor::emu {
namespace {

class ApicNetworkTest : public testing::Test {
 protected:
  static constexpr uint32_t kSvr = 0xf0, kIcr = 0x300, kIcrHigh = 0x310, kLdr = 0xd0;

  ApicNetworkTest() {
    for (LocalApic& apic : apics) {
      network.add(apic);
      apic.outputs.send_ipi = [this, &apic](const Ipi& message) { network.send(message, &apic); };
      apic.write_memory(kSvr, 4, 0x1ff);
      apic.write_memory(kLdr, 4, 1u << (24 + apic.id()));
    }
  }
  // The APICs in which the vector is pending.
  std::vector<uint32_t> pending(uint8_t vector) const {
    std::vector<uint32_t> ids;
    for (const LocalApic& apic : apics) {
      if (apic.highest_pending() == vector) ids.push_back(apic.id());
    }
    return ids;
  }
  void send(unsigned from, uint32_t low, uint32_t to = 0) {
    apics[from].write_memory(kIcrHigh, 4, to << 24);
    apics[from].write_memory(kIcr, 4, low);
  }

  using Ids = std::vector<uint32_t>;
  Clock clock;
  ApicNetwork network;
  EventQueue timers;
  std::array<LocalApic, 3> apics{LocalApic{clock, timers, 0, true},
                                 LocalApic{clock, timers, 1, false},
                                 LocalApic{clock, timers, 2, false}};
};

TEST_F(ApicNetworkTest, DeliversByShorthand) {
  send(1, 0x44041);
  EXPECT_EQ(pending(0x41), Ids{1});
  send(1, 0x84052);
  EXPECT_EQ(pending(0x52), (Ids{0, 1, 2}));
  send(1, 0xc4063);
  EXPECT_EQ(pending(0x63), (Ids{0, 2}));
}

TEST_F(ApicNetworkTest, DeliversToPhysicalDestinations) {
  send(0, 0x4041, 2);
  EXPECT_EQ(pending(0x41), Ids{2});
  send(0, 0x4052, 0);
  EXPECT_EQ(pending(0x52), Ids{0});
  send(0, 0x4063, 7);
  EXPECT_EQ(pending(0x63), Ids{});
  send(0, 0x4074, 0xff);
  EXPECT_EQ(pending(0x74), (Ids{0, 1, 2}));
}

TEST_F(ApicNetworkTest, DeliversToLogicalDestinations) {
  send(0, 0x4841, 0b110);
  EXPECT_EQ(pending(0x41), (Ids{1, 2}));
  send(0, 0x4852, 0b101);
  EXPECT_EQ(pending(0x52), (Ids{0, 2}));
}

TEST_F(ApicNetworkTest, TheLowestPriorityIsChosen) {
  send(0, 0x4941, 0b111);
  EXPECT_EQ(pending(0x41), Ids{0}) << "the lowest ID among equals, the sender included";
  apics[0].set_tpr(0x30);
  apics[1].set_tpr(0x20);
  apics[2].set_tpr(0x10);
  send(0, 0x4952, 0b111);
  EXPECT_EQ(pending(0x52), Ids{2});
  send(0, 0x4963, 0b011);
  EXPECT_EQ(pending(0x63), Ids{1});
}

TEST_F(ApicNetworkTest, WhoIsDisabledIsNotChosen) {
  apics[0].write_memory(kSvr, 4, 0xff);
  send(1, 0x4941, 0b011);
  EXPECT_EQ(pending(0x41), Ids{1});
}

TEST_F(ApicNetworkTest, TheIoApicHasNoPartOfItsOwn) {
  Ipi message;
  message.vector = 0x41;
  message.destination = 0xff;
  network.send(message, nullptr);
  EXPECT_EQ(pending(0x41), (Ids{0, 1, 2}));
}

TEST_F(ApicNetworkTest, InitAndStartUpReachTheirTarget) {
  std::vector<uint8_t> start_ups;
  int inits = 0;
  apics[2].outputs.init = [&] { ++inits; };
  apics[2].outputs.start_up = [&](uint8_t vector) { start_ups.push_back(vector); };
  send(0, 0xc4500);
  send(0, 0x8500, 2);  // INIT level de-assert
  send(0, 0x4697, 2);
  EXPECT_EQ(inits, 1);
  EXPECT_EQ(start_ups, std::vector<uint8_t>{0x97});
}

}  // namespace
}  // namespace nestor::emu
