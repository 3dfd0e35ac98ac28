// SPDX-License-Identifier: GPL-2.0-or-later
//
// What all virtio devices have in common, by the one that is the simplest: virtio-rng.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "emu/devices/virtio/entropy.h"
#include "tests/emu/devices/virtio_driver.h"

namespace nestor::emu {
namespace {

using test::VirtioDriver;
using Driver = VirtioDriver;

class VirtioTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 2;
  static constexpr uint64_t kBuffer = 0x8000;
  static test::PciMachine& add(test::PciMachine& to, uint64_t seed) {
    to.host.add(kSlot, std::make_unique<VirtioEntropy>(to.place(kSlot, "virtio-rng"), seed));
    return to;
  }
  // What the device gives for one request of so many bytes.
  std::vector<uint8_t> ask(uint32_t size) {
    std::fill_n(machine.memory.bytes.begin() + kBuffer, size, uint8_t{0});
    driver.request(0, {{kBuffer, size, true}});
    driver.notify();
    driver.run();
    const auto first = machine.memory.bytes.begin() + kBuffer;
    return {first, first + size};
  }

  test::PciMachine machine;
  Driver driver{add(machine, 7), kSlot};
};

TEST_F(VirtioTest, IsFoundByItsCapabilities) {
  EXPECT_EQ(machine.read(kSlot, 0, 4), 0x10441af4u);
  EXPECT_GE(machine.read(kSlot, 8, 1), 1u) << "revision";
  std::set<uint32_t> types;
  for (unsigned i = 0; const unsigned at = machine.capability(kSlot, 9, i); ++i) {
    const uint32_t type = machine.read(kSlot, at + 3, 1);
    EXPECT_TRUE(types.insert(type).second);
    EXPECT_EQ(machine.read(kSlot, at + 2, 1), type == 2 || type == 5 ? 20u : 16u);
    if (type == 1) {
      EXPECT_EQ(machine.read(kSlot, at + 12, 4), 0x38u);
    }
  }
  EXPECT_EQ(types, (std::set<uint32_t>{1, 2, 3, 5})) << "it has no configuration";
  const unsigned msix = machine.capability(kSlot, 0x11);
  EXPECT_EQ(machine.read(kSlot, msix + 2, 2), 1u) << "two vectors, not enabled";
  EXPECT_EQ(machine.read(kSlot, msix + 4, 4), 1u);
  EXPECT_EQ(machine.read(kSlot, msix + 8, 4), 0x801u);
}

TEST_F(VirtioTest, FeaturesAreNegotiated) {
  EXPECT_EQ(driver.negotiate(0), 3) << "version 1 is required";
  EXPECT_EQ(driver.negotiate(1ull << 32 | 1ull << 27), 3) << "that was not offered";
  EXPECT_EQ(driver.negotiate(1ull << 32), 0xb);
  driver.set(Driver::kDriverFeatureSelect, 4, 1);
  driver.set(Driver::kDriverFeature, 4, 0);
  EXPECT_EQ(driver.get(Driver::kDriverFeature, 4), 1u) << "they are settled";
  driver.set(Driver::kDeviceFeatureSelect, 4, 1);
  EXPECT_EQ(driver.get(Driver::kDeviceFeature, 4), 1u);
  driver.set(Driver::kDeviceFeatureSelect, 4, 2);
  EXPECT_EQ(driver.get(Driver::kDeviceFeature, 4), 0u);
}

TEST_F(VirtioTest, FieldsHaveTheirWidths) {
  EXPECT_EQ(driver.get(Driver::kQueues, 2), 1u);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 256u);
  driver.set(Driver::kQueueSize, 2, 100);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 256u) << "no power of two";
  driver.set(Driver::kQueueSize, 2, 512);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 256u) << "more than there are";
  driver.set(Driver::kQueueSize, 1, 8);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 256u) << "half of the field";
  driver.set(Driver::kQueueSize, 2, 8);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 8u);
  driver.set(Driver::kDescriptors, 8, 0x123456789abcdef0);
  EXPECT_EQ(driver.get(Driver::kDescriptors + 4, 4), 0x12345678u);
  driver.set(Driver::kDescriptors, 4, 1);
  EXPECT_EQ(driver.get(Driver::kDescriptors, 8), 0x1234567800000001u);
  driver.set(Driver::kQueueVector, 2, 2);
  EXPECT_EQ(driver.get(Driver::kQueueVector, 2), 0xffffu) << "there is no such vector";
  driver.set(Driver::kQueueVector, 2, 1);
  EXPECT_EQ(driver.get(Driver::kQueueVector, 2), 1u);
  driver.set(Driver::kQueueSelect, 2, 1);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 0u) << "there is one queue";
  driver.set(Driver::kQueueEnable, 2, 1);
  EXPECT_EQ(driver.get(Driver::kQueueEnable, 2), 0u);
  driver.set(Driver::kQueueSelect, 2, 0);
  EXPECT_EQ(driver.get(Driver::kQueueEnable, 2), 0u);
}

TEST_F(VirtioTest, AnEnabledQueueStaysAsItIsUntilTheReset) {
  driver.start();
  driver.set(Driver::kQueueSize, 2, 4);
  driver.set(Driver::kDriverArea, 8, 0);
  driver.set(Driver::kQueueEnable, 2, 0);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 8u);
  EXPECT_EQ(driver.get(Driver::kDriverArea, 8), Driver::kAvailable);
  EXPECT_EQ(driver.get(Driver::kQueueEnable, 2), 1u);
  driver.set(Driver::kStatus, 1, 0);
  EXPECT_EQ(driver.status(), 0);
  EXPECT_EQ(driver.get(Driver::kQueueSize, 2), 256u);
  EXPECT_EQ(driver.get(Driver::kDriverArea, 8), 0u);
  EXPECT_EQ(driver.get(Driver::kQueueEnable, 2), 0u);
  EXPECT_EQ(driver.get(Driver::kDriverFeature, 4), 0u);
}

TEST_F(VirtioTest, ServesARequestAfterItsTime) {
  driver.start();
  driver.request(3, {{kBuffer, 5, true}, {kBuffer + 16, 11, true}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline(), machine.clock.cycles() + VirtioEntropy::kRequestCycles);
  driver.notify();
  machine.pass(VirtioEntropy::kRequestCycles - 1);
  EXPECT_EQ(driver.used(), 0);
  machine.pass(1);
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(driver.used_head(0), 3u);
  EXPECT_EQ(driver.used_length(0), 16u);
  EXPECT_NE(machine.memory.get(kBuffer, 5), 0u);
  EXPECT_EQ(machine.memory.get(kBuffer + 5, 8), 0u) << "between the buffers";
  EXPECT_NE(machine.memory.get(kBuffer + 16, 8), 0u);
  EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever);
  EXPECT_EQ(driver.status(), 0xf);
}

TEST_F(VirtioTest, ServesMoreThanTheRingHolds) {
  driver.start();
  for (unsigned i = 0; i < 70'000; ++i) {
    driver.request(0, {{kBuffer, 1, true}});
    driver.notify();
    driver.run();
  }
  EXPECT_EQ(driver.used(), 70'000 % 65'536);
  EXPECT_EQ(driver.status(), 0xf);
}

TEST_F(VirtioTest, WaitsUntilItMayAccessMemory) {
  driver.start();
  machine.write(kSlot, 0x04, 2, 2);
  driver.request(0, {{kBuffer, 8, true}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever);
  machine.write(kSlot, 0x04, 2, 6);
  driver.run();
  EXPECT_EQ(driver.used(), 1);
}

TEST_F(VirtioTest, InterruptsByItsPin) {
  driver.start();
  ask(8);
  EXPECT_TRUE(machine.levels[18]);
  EXPECT_EQ(machine.read(kSlot, 0x06, 2) & 8, 8u);
  EXPECT_EQ(driver.interrupt_status(), 1);
  EXPECT_FALSE(machine.levels[18]) << "reading acknowledges it";
  EXPECT_EQ(driver.interrupt_status(), 0);
  machine.memory.put(Driver::kAvailable, 1, 2);
  ask(8);
  EXPECT_FALSE(machine.levels[18]) << "the driver wants none";
  EXPECT_TRUE(machine.messages.empty());
}

TEST_F(VirtioTest, InterruptsByMessage) {
  driver.start();
  driver.use_msix();
  ask(8);
  ASSERT_EQ(machine.messages.size(), 1u);
  EXPECT_EQ(machine.messages[0].vector, 0x51);
  EXPECT_FALSE(machine.levels[18]);
  EXPECT_EQ(driver.interrupt_status(), 0);
  driver.set(0x8000 + 16 + 12, 4, 1);
  ask(8);
  EXPECT_EQ(machine.messages.size(), 1u);
  EXPECT_EQ(driver.get(0x8800, 8), 2u) << "it is pending";
  driver.set(0x8000 + 16 + 12, 4, 0);
  EXPECT_EQ(machine.messages.size(), 2u);
}

TEST_F(VirtioTest, TheStructuresAreInTheWindowToo) {
  driver.start();
  const unsigned window = [&] {
    for (unsigned i = 0;; ++i) {
      const unsigned at = machine.capability(kSlot, 9, i);
      if (at == 0 || machine.read(kSlot, at + 3, 1) == 5) return at;
    }
  }();
  ASSERT_NE(window, 0u);
  machine.write(kSlot, 0x04, 2, 4);  // the memory is not decoded
  machine.write(kSlot, window + 8, 4, Driver::kStatus);
  machine.write(kSlot, window + 12, 4, 1);
  EXPECT_EQ(machine.read(kSlot, window + 16, 1), 0xfu);
  machine.write(kSlot, window + 8, 4, Driver::kQueueSize);
  machine.write(kSlot, window + 12, 4, 2);
  EXPECT_EQ(machine.read(kSlot, window + 16, 2), 8u);
  driver.request(0, {{kBuffer, 8, true}});
  machine.write(kSlot, window + 8, 4, 0x3000);
  machine.write(kSlot, window + 16, 2, 0);
  driver.run();
  EXPECT_EQ(driver.used(), 1);
  for (const uint32_t bad : {0x4000u, 1u, 0xfffffffeu}) {
    machine.write(kSlot, window + 8, 4, bad);
    machine.write(kSlot, window + 16, 2, 0x1234);
    EXPECT_EQ(machine.read(kSlot, window + 16, 2), 0x1234u) << "nothing is there";
  }
}

TEST_F(VirtioTest, ATableOfItsOwnHasTheDescriptors) {
  driver.start(Driver::kIndirectFeature);
  constexpr uint64_t kOwn = 0x6000;
  driver.describe_at(kOwn, kBuffer, 3, Driver::kWrite | Driver::kNext, 2);
  driver.describe_at(kOwn + 32, kBuffer + 16, 5, Driver::kWrite, 0);
  driver.describe(4, kOwn, 48, Driver::kIndirect | Driver::kWrite, 0);
  driver.offer(4);
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(driver.used_head(0), 4u);
  EXPECT_EQ(driver.used_length(0), 8u);
  EXPECT_EQ(machine.memory.get(kBuffer + 3, 8), 0u);
  EXPECT_NE(machine.memory.get(kBuffer + 16, 5), 0u);
  driver.describe(0, kBuffer, 1, Driver::kWrite | Driver::kNext, 4);
  driver.offer(0);
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.used(), 2) << "it may be the last one of a chain";
  EXPECT_EQ(driver.used_length(1), 9u);
}

TEST_F(VirtioTest, AnIndexSaysWhenTheDriverIsInterrupted) {
  driver.start(Driver::kEventIndexFeature);
  constexpr uint64_t kUsedEvent = Driver::kAvailable + 4 + 2 * Driver::kSize;
  machine.memory.put(Driver::kAvailable, 1, 2);  // the flags mean nothing
  machine.memory.put(kUsedEvent, 1, 2);
  ask(8);
  EXPECT_FALSE(machine.levels[18]);
  ask(8);
  EXPECT_TRUE(machine.levels[18]) << "the index is passed";
  driver.interrupt_status();
  ask(8);
  EXPECT_FALSE(machine.levels[18]);
}

TEST_F(VirtioTest, AnIndexSaysWhenTheDeviceIsNotified) {
  driver.start(Driver::kEventIndexFeature);
  constexpr uint64_t kAvailableEvent = Driver::kUsed + 4 + 8 * Driver::kSize;
  ask(8);
  EXPECT_EQ(machine.memory.get(kAvailableEvent, 2), 1u);
  driver.request(0, {{kBuffer, 8, true}});
  driver.request(1, {{kBuffer, 8, true}});
  driver.notify();
  machine.pass(VirtioEntropy::kRequestCycles);
  EXPECT_EQ(machine.memory.get(kAvailableEvent, 2), 1u) << "it is busy and looks by itself";
  driver.run();
  EXPECT_EQ(machine.memory.get(kAvailableEvent, 2), 3u);
  EXPECT_EQ(driver.used(), 3);
}

TEST_F(VirtioTest, InterruptsByMsi) {
  driver.start();
  const unsigned msi = machine.capability(kSlot, 0x05);
  ASSERT_NE(msi, 0u);
  machine.write(kSlot, msi + 4, 4, 0xfee03000);
  machine.write(kSlot, msi + 12, 2, 0x4061);
  machine.write(kSlot, msi + 2, 2, 1);
  ask(8);
  ASSERT_EQ(machine.messages.size(), 1u);
  EXPECT_EQ(machine.messages[0].vector, 0x61);
  EXPECT_EQ(machine.messages[0].destination, 3u);
  EXPECT_FALSE(machine.levels[18]);
  EXPECT_EQ(driver.interrupt_status(), 1);
  machine.write(kSlot, msi + 16, 4, 1);
  ask(8);
  EXPECT_EQ(machine.messages.size(), 1u) << "it is masked";
  EXPECT_EQ(machine.read(kSlot, msi + 20, 4), 1u);
  machine.write(kSlot, msi + 16, 4, 0);
  EXPECT_EQ(machine.messages.size(), 2u);
  EXPECT_EQ(machine.read(kSlot, msi + 20, 4), 0u);
}

// --- drivers that are wrong or hostile

struct Hostility {
  const char* name;
  std::function<void(test::PciMachine&, Driver&)> act;
};

const Hostility kHostilities[] = {
    {"a head beyond the table", [](auto&, Driver& d) { d.offer(8); }},
    {"a chain that leaves the table",
     [](auto&, Driver& d) {
       d.describe(0, 0x8000, 4, Driver::kWrite | Driver::kNext, 8);
       d.offer(0);
     }},
    {"a loop",
     [](auto&, Driver& d) {
       d.describe(0, 0x8000, 4, Driver::kWrite | Driver::kNext, 1);
       d.describe(1, 0x8000, 4, Driver::kWrite | Driver::kNext, 0);
       d.offer(0);
     }},
    {"more available than the ring holds",
     [](test::PciMachine& m, Driver& d) {
       d.request(0, {{0x8000, 4, true}});
       m.memory.put(Driver::kAvailable + 2, 9, 2);
     }},
    {"an indirect descriptor",
     [](auto&, Driver& d) {
       d.describe(0, 0x8000, 16, Driver::kIndirect, 0);
       d.offer(0);
     }},
    {"a buffer beyond memory",
     [](auto&, Driver& d) {
       d.request(0, {{0x1fffd, 4, true}});
     }},
    {"a buffer that wraps",
     [](auto&, Driver& d) {
       d.request(0, {{~0ull - 2, 4, true}});
     }},
    {"a huge buffer",
     [](auto&, Driver& d) {
       d.request(0, {{0x8000, 0xffffffff, true}});
     }},
    {"a readable buffer behind a writable one",
     [](auto&, Driver& d) {
       d.request(0, {{0x8000, 4, true}, {0x8100, 4, false}});
     }},
    {"a request that makes no sense",
     [](auto&, Driver& d) {
       d.request(0, {{0x8000, 4, false}});
     }},
};

TEST_F(VirtioTest, WhatMakesNoSenseNeedsAResetAndNothingElse) {
  for (const Hostility& hostility : kHostilities) {
    driver.start();
    const auto before = machine.memory.bytes;
    hostility.act(machine, driver);
    const auto prepared = machine.memory.bytes;
    driver.notify();
    driver.run();
    EXPECT_EQ(driver.status(), 0xf | Driver::kNeedsReset) << hostility.name;
    EXPECT_EQ(machine.memory.bytes, prepared) << hostility.name;
    EXPECT_EQ(driver.interrupt_status(), 2) << "the configuration has changed";
    machine.memory.bytes = before;
    driver.request(0, {{kBuffer, 4, true}});
    driver.notify();
    EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever) << hostility.name;
    driver.start();
    ask(8);
    EXPECT_EQ(driver.used(), 1) << "a reset helps after " << hostility.name;
  }
}

TEST_F(VirtioTest, ATableThatMakesNoSenseNeedsAReset) {
  constexpr uint64_t kOwn = 0x6000;
  const struct {
    const char* name;
    uint64_t table;
    uint32_t size;
    uint16_t flags, first_flags, first_next;
  } kCases[] = {
      {"no multiple", kOwn, 17, Driver::kIndirect, Driver::kWrite, 0},
      {"empty", kOwn, 0, Driver::kIndirect, Driver::kWrite, 0},
      {"too long", kOwn, 257 * 16, Driver::kIndirect, Driver::kWrite, 0},
      {"huge", kOwn, 0xfffffff0, Driver::kIndirect, Driver::kWrite, 0},
      {"another one follows", kOwn, 16, Driver::kIndirect | Driver::kNext, Driver::kWrite, 0},
      {"nested", kOwn, 16, Driver::kIndirect, Driver::kIndirect, 0},
      {"leaves the table", kOwn, 16, Driver::kIndirect, Driver::kWrite | Driver::kNext, 1},
      {"a loop", kOwn, 32, Driver::kIndirect, Driver::kWrite | Driver::kNext, 0},
      {"outside memory", 0x1fff8, 32, Driver::kIndirect, Driver::kWrite, 0},
      {"wraps", ~0ull - 7, 32, Driver::kIndirect, Driver::kWrite, 0},
  };
  for (const auto& one : kCases) {
    driver.start(Driver::kIndirectFeature);
    driver.describe_at(kOwn, kBuffer, 4, one.first_flags, one.first_next);
    driver.describe(0, one.table, one.size, one.flags, 1);
    driver.describe(1, kBuffer, 4, Driver::kWrite, 0);
    driver.offer(0);
    driver.notify();
    EXPECT_EQ(driver.status(), 0xf | Driver::kNeedsReset) << one.name;
  }
}

TEST_F(VirtioTest, TheDriverLearnsByMessageThatItMustReset) {
  driver.start();
  driver.use_msix();
  driver.offer(8);
  driver.notify();
  ASSERT_EQ(machine.messages.size(), 1u);
  EXPECT_EQ(machine.messages[0].vector, 0x50) << "that of the configuration";
  EXPECT_EQ(driver.interrupt_status(), 2);
  EXPECT_FALSE(machine.levels[18]);
}

// A memory in which everything is RAM, so that only the sum of the sizes is wrong.
class BoundlessMemory final : public DeviceMemory {
 public:
  bool holds(uint64_t, uint64_t) const override { return true; }
  bool read(uint64_t address, std::span<uint8_t> out) override { return ram.read(address, out); }
  bool write(uint64_t address, std::span<const uint8_t> data) override {
    return ram.write(address, data);
  }
  test::FakeMemory ram{0x4000};
};

TEST(VirtqueueTest, AChainHasAtMost4Gib) {
  BoundlessMemory memory;
  memory.ram.put(0x1000 + 2, 1, 2);
  const auto describe = [&](unsigned index, uint64_t size, uint64_t flags) {
    memory.ram.put(16 * index, 1ull << 40, 8);
    memory.ram.put(16 * index + 8, size, 4);
    memory.ram.put(16 * index + 12, flags | uint64_t{index + 1} << 16, 4);
  };
  Virtqueue queue(memory);
  queue.state().driver_area = 0x1000;
  queue.state().enabled = true;
  describe(0, 0xffffffff, Driver::kNext);
  describe(1, 1, Driver::kWrite);
  auto next = queue.next();
  ASSERT_TRUE(std::holds_alternative<VirtqueueChain>(next));
  EXPECT_EQ(std::get<VirtqueueChain>(next).readable_bytes, 0xffffffffu);
  EXPECT_EQ(std::get<VirtqueueChain>(next).writable_bytes, 1u);
  describe(1, 2, Driver::kWrite);
  EXPECT_TRUE(std::holds_alternative<Virtqueue::Broken>(queue.next()));
}

TEST_F(VirtioTest, ARingOutsideMemoryNeedsAReset) {
  for (const uint64_t field : {Driver::kDescriptors, Driver::kDriverArea, Driver::kDeviceArea}) {
    for (const uint64_t address : {0x1ffffull, 0x100000000ull, ~0ull, ~0ull - 3}) {
      driver.start();
      driver.request(0, {{kBuffer, 4, true}});
      const auto before = machine.memory.bytes;
      driver.negotiate(1ull << 32);
      driver.set(Driver::kQueueSize, 2, Driver::kSize);
      driver.set(Driver::kDescriptors, 8, Driver::kTable);
      driver.set(Driver::kDriverArea, 8, Driver::kAvailable);
      driver.set(Driver::kDeviceArea, 8, Driver::kUsed);
      driver.set(field, 8, address);
      driver.set(Driver::kQueueEnable, 2, 1);
      driver.set(Driver::kStatus, 1, 0xf);
      driver.run();
      EXPECT_EQ(driver.status(), 0xf | Driver::kNeedsReset) << field << " " << address;
      if (field != Driver::kDeviceArea) {
        EXPECT_EQ(machine.memory.bytes, before);
      }
    }
  }
}

TEST_F(VirtioTest, AChainMayChangeUntilItIsServed) {
  driver.start();
  driver.request(0, {{kBuffer, 4, true}});
  driver.notify();
  driver.describe(0, ~0ull, 4, Driver::kWrite, 0);
  driver.run();
  EXPECT_EQ(driver.status(), 0xf | Driver::kNeedsReset);
}

TEST_F(VirtioTest, ADriverThatForgetsAStepGetsNothing) {
  driver.start();
  driver.set(Driver::kStatus, 1, 0);
  driver.set(Driver::kStatus, 1, 4);
  driver.request(0, {{kBuffer, 4, true}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever);
}

// --- virtio-rng itself

TEST_F(VirtioTest, NumbersRepeatWithTheSeed) {
  driver.start();
  const auto first = ask(24), second = ask(24);
  EXPECT_NE(first, second);
  for (const uint64_t seed : {7u, 8u}) {
    test::PciMachine other;
    add(other, seed);
    Driver again(other, kSlot);
    again.start();
    again.request(0, {{kBuffer, 24, true}});
    again.notify();
    again.run();
    const auto at = other.memory.bytes.begin() + kBuffer;
    EXPECT_EQ(std::vector<uint8_t>(at, at + 24) == first, seed == 7);
  }
}

TEST_F(VirtioTest, ALongRequestGetsAPart) {
  driver.start();
  ask(6000);
  EXPECT_EQ(driver.used_length(0), 4096u);
  EXPECT_EQ(machine.memory.get(kBuffer + 4096, 8), 0u);
}

TEST_F(VirtioTest, GoesOnFromItsSavedState) {
  driver.start();
  driver.use_msix();
  ask(8);
  driver.request(0, {{kBuffer, 8, true}});
  driver.notify();
  machine.pass(1000);
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::PciMachine other;
  add(other, 9);
  other.memory.bytes = machine.memory.bytes;
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  EXPECT_EQ(saved_bytes([&](Archive& archive) { other.serialize(archive); }), bytes);
  for (test::PciMachine* each : {&machine, &other}) {
    ASSERT_EQ(each->bus.deadline(), machine.clock.cycles() + VirtioEntropy::kRequestCycles - 1000);
  }
  for (test::PciMachine* each : {&machine, &other}) each->pass(VirtioEntropy::kRequestCycles);
  EXPECT_EQ(other.memory.bytes, machine.memory.bytes);
  EXPECT_EQ(other.memory.get(Driver::kUsed + 2, 2), 2u);
  ASSERT_EQ(other.messages.size(), 1u);
  EXPECT_EQ(other.messages[0].vector, 0x51);
}

}  // namespace
}  // namespace nestor::emu
