// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "emu/devices/virtio/network.h"
#include "tests/emu/devices/virtio_driver.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;

class Cable final : public NetworkPort {
 public:
  void send(uint64_t nanoseconds, std::span<const uint8_t> frame) override {
    sent.emplace_back(frame.begin(), frame.end());
    sent_at = nanoseconds;
  }
  std::optional<Frame> receive(uint64_t /*nanoseconds*/) override {
    ++asked;
    if (coming.empty()) return std::nullopt;
    Frame frame = coming.front();
    coming.pop_front();
    return frame;
  }

  std::vector<Frame> sent;
  uint64_t sent_at = 0;
  std::deque<Frame> coming;
  int asked = 0;
};

Frame frame_of(size_t size, uint8_t first) {
  Frame frame(size);
  std::iota(frame.begin(), frame.end(), first);
  return frame;
}

class VirtioNetworkTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 30, kReceive = 0, kTransmit = 1;
  static constexpr uint64_t kBuffer = 0x8000;
  static constexpr uint32_t kHeader = VirtioNetwork::kHeaderBytes;

  test::PciMachine& add(NetworkPort* port) {
    auto card = std::make_unique<VirtioNetwork>(machine.place(kSlot, "virtio-net"), port);
    card_ = card.get();
    machine.host.add(kSlot, std::move(card));
    return machine;
  }
  Frame in_memory(uint64_t address, size_t size) {
    const auto first = machine.memory.bytes.begin() + static_cast<std::ptrdiff_t>(address);
    return {first, first + static_cast<std::ptrdiff_t>(size)};
  }
  // A frame behind the header.
  void put(const Frame& frame) {
    std::ranges::copy(frame, machine.memory.bytes.begin() + kBuffer + kHeader);
  }

  test::PciMachine machine;
  Cable cable;
  VirtioNetwork* card_ = nullptr;
};

TEST_F(VirtioNetworkTest, IsACardWithAnAddress) {
  test::VirtioDriver driver(add(&cable), kSlot);
  EXPECT_EQ(machine.read(kSlot, 0, 4), 0x10411af4u);
  EXPECT_EQ(machine.read(kSlot, 0x08, 4) >> 8, 0x020000u);
  EXPECT_EQ(driver.get(test::VirtioDriver::kQueues, 2), 2u);
  EXPECT_EQ(driver.get(test::VirtioDriver::kDeviceFeature, 4), 0x30010020u);
  EXPECT_EQ(driver.configuration(0, 4), 0x12005452u);
  EXPECT_EQ(driver.configuration(4, 2), 0x5634u);
  EXPECT_EQ(driver.configuration(6, 2), 1u) << "the link is up";
}

TEST_F(VirtioNetworkTest, WithoutACableTheLinkIsDown) {
  test::VirtioDriver driver(add(nullptr), kSlot);
  EXPECT_EQ(driver.configuration(6, 2), 0u);
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, 2048, true}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever);
  driver.start(0, kTransmit);
  driver.request(0, {{kBuffer, kHeader + 60, false}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.used(), 1);
}

TEST_F(VirtioNetworkTest, SendsWhatIsBehindTheHeader) {
  test::VirtioDriver driver(add(&cable), kSlot);
  driver.start(0, kTransmit);
  const Frame frame = frame_of(100, 7);
  put(frame);
  driver.request(0, {{kBuffer, 5, false}, {kBuffer + 5, kHeader + 95, false}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline() - machine.clock.cycles(),
            VirtioNetwork::kFrameCycles + VirtioNetwork::kCyclesPerPiece);
  driver.run();
  EXPECT_THAT(cable.sent, ElementsAre(frame));
  EXPECT_EQ(cable.sent_at, machine.clock.cycles() / 2) << "nanoseconds at 2 GHz";
  EXPECT_EQ(driver.used_length(0), 0u);
}

TEST_F(VirtioNetworkTest, WhatNoCableCarriesIsDropped) {
  test::VirtioDriver driver(add(&cable), kSlot);
  driver.start(0, kTransmit);
  driver.request(0, {{kBuffer, kHeader + 13, false}});
  driver.request(1, {{kBuffer, kHeader + 1515, false}});
  driver.request(2, {{kBuffer, kHeader + 1514, false}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.used(), 3);
  ASSERT_EQ(cable.sent.size(), 1u);
  EXPECT_EQ(cable.sent[0].size(), 1514u);
  driver.request(3, {{kBuffer, kHeader - 1, false}});
  driver.notify();
  machine.pass(VirtioNetwork::kFrameCycles);
  EXPECT_NE(driver.status() & test::VirtioDriver::kNeedsReset, 0);
}

TEST_F(VirtioNetworkTest, WhatArrivesWaitsForABuffer) {
  test::VirtioDriver driver(add(&cable), kSlot);
  const Frame one = frame_of(60, 1), two = frame_of(1514, 2);
  cable.coming = {one, frame_of(13, 0), frame_of(1515, 0), two};
  machine.pass(VirtioNetwork::kPollCycles);
  EXPECT_EQ(cable.asked, 0) << "nobody listens";
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, kHeader, true}, {kBuffer + kHeader, 2048, true}});
  driver.notify();
  machine.pass(VirtioNetwork::kPollCycles - 1);
  EXPECT_EQ(cable.asked, 0);
  machine.pass(1);
  ASSERT_EQ(driver.used(), 1);
  EXPECT_EQ(driver.used_length(0), kHeader + 60);
  EXPECT_EQ(in_memory(kBuffer, kHeader), Frame({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(in_memory(kBuffer + kHeader, 60), one);

  // The second one is in the card by now, and in its saved state.
  const auto saved = saved_bytes([&](Archive& archive) { card_->serialize(archive); });
  driver.request(2, {{kBuffer, 2048, true}});
  driver.notify();
  machine.pass(VirtioNetwork::kFrameCycles + 1514 / 64 * VirtioNetwork::kCyclesPerPiece);
  ASSERT_EQ(driver.used(), 2);
  EXPECT_EQ(in_memory(kBuffer + kHeader, 1514), two);
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) { card_->serialize(archive); }));
  EXPECT_EQ(saved_bytes([&](Archive& archive) { card_->serialize(archive); }), saved);
}

TEST_F(VirtioNetworkTest, ABufferThatIsTooSmallNeedsAReset) {
  test::VirtioDriver driver(add(&cable), kSlot);
  cable.coming = {frame_of(60, 1)};
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, kHeader + 59, true}});
  driver.notify();
  machine.pass(VirtioNetwork::kPollCycles);
  EXPECT_NE(driver.status() & test::VirtioDriver::kNeedsReset, 0);
}

}  // namespace
}  // namespace nestor::emu
