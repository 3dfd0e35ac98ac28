// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <stdexcept>

#include "emu/devices/pci/host.h"
#include "emu/devices/pci/host_bridge.h"
#include "emu/devices/pci/isa_bridge.h"
#include "emu/devices/pci/msix.h"
#include "tests/emu/devices/pci_fixture.h"

namespace nestor::emu {
namespace {

// A function with ports and memory that answer with their place.
class PciProbe : public PciFunction {
 public:
  static constexpr Identity kIdentity = {.vendor = 0x1234,
                                         .device = 0x5678,
                                         .revision = 9,
                                         .class_code = 0x0a0b0c,
                                         .subsystem_vendor = 0x4321,
                                         .subsystem = 0x8765};
  PciProbe(Bus& bus, InterruptSource interrupt)
      : PciFunction(bus, kIdentity, {{Space::kPorts, 16}, {Space::kMemory, 0x1000}},
                    std::move(interrupt)) {
    constexpr std::array<uint8_t, 6> kBody = {1, 2, 3, 4, 5, 6}, kWritable = {0, 0xff, 0x0f};
    add_capability(0x09, kBody, kWritable);
    add_capability(0x05, std::span(kBody).first(2), {});
  }
  uint32_t read_port(DeviceAddress at, unsigned) override {
    return static_cast<uint32_t>(0x10 + at.offset);
  }
  uint64_t read_memory(DeviceAddress at, unsigned) override { return 0x2000 + at.offset; }
  void interrupt(bool level) { set_interrupt(level); }
};

class PciTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 5;
  PciTest() { probe = add(machine, kSlot); }
  static PciProbe* add(test::PciMachine& to, unsigned slot) {
    auto made = std::make_unique<PciProbe>(to.bus, to.lines.source(16 + slot % 4));
    PciProbe* const raw = made.get();
    to.host.add(slot, std::move(made));
    return raw;
  }
  uint32_t read(unsigned offset, unsigned size) { return machine.read(kSlot, offset, size); }
  void write(unsigned offset, unsigned size, uint32_t value) {
    machine.write(kSlot, offset, size, value);
  }

  test::PciMachine machine;
  Bus& bus = machine.bus;
  PciProbe* probe;
};

TEST_F(PciTest, TheAddressHasOnlyItsBits) {
  bus.write_port(0xcf8, 4, 0xffffffff);
  EXPECT_EQ(bus.read_port(0xcf8, 4), 0x80fffffcu);
  EXPECT_EQ(bus.read_port(0xcfa, 1), 0xffu);
  bus.write_port(0xcf8, 2, 0);
  EXPECT_EQ(bus.read_port(0xcf8, 4), 0x80fffffcu) << "narrow accesses do not write it";
}

TEST_F(PciTest, AResetIsOneThatWasNotAskedForBefore) {
  unsigned resets = 0;
  PciHost host([&] { ++resets; });
  const auto reset_control = [&](uint8_t value) { host.write_port({0, 1}, 1, value); };
  reset_control(0x02);
  EXPECT_EQ(resets, 0u);
  EXPECT_EQ(host.read_port({0, 1}, 1), 0x02u);
  reset_control(0xfe);
  EXPECT_EQ(resets, 1u);
  EXPECT_EQ(host.read_port({0, 1}, 1), 0x06u);
  reset_control(0x04);
  EXPECT_EQ(resets, 1u);
  reset_control(0x00);
  reset_control(0x04);
  EXPECT_EQ(resets, 2u);
  host.write_port({0, 0}, 4, 0x80000600);
  EXPECT_EQ(resets, 2u);
  EXPECT_EQ(host.read_port({0, 0}, 4), 0x80000600u);
}

TEST_F(PciTest, ASlotHasUpToEightFunctions) {
  for (const unsigned number : {3u, 7u}) {
    machine.host.add(kSlot, std::make_unique<PciProbe>(bus, InterruptSource()), number);
    const uint32_t address = 0x80000000 | kSlot << 11 | number << 8;
    bus.write_port(0xcf8, 4, address);
    EXPECT_EQ(bus.read_port(0xcfc, 4), 0x56781234u);
    EXPECT_EQ(bus.read_memory(0xfef00000 | kSlot << 15 | number << 12, 4), 0x56781234u);
  }
  EXPECT_EQ(read(0x0e, 1), 0x80u) << "function 0 says that there are others";
  bus.write_port(0xcf8, 4, 0x80000000 | kSlot << 11 | 4u << 8);
  EXPECT_EQ(bus.read_port(0xcfc, 4), 0xffffffffu);
  EXPECT_THROW(machine.host.add(kSlot, std::make_unique<PciProbe>(bus, InterruptSource()), 3),
               std::logic_error);
  EXPECT_THROW(machine.host.add(kSlot, std::make_unique<PciProbe>(bus, InterruptSource()), 8),
               std::logic_error);
}

TEST_F(PciTest, TheHostBridgeTellsWhatEachSegmentMeets) {
  std::array<std::pair<bool, bool>, HostBridge::kSegments> told{};
  machine.host.add(0, std::make_unique<HostBridge>(bus, PciProbe::kIdentity,
                                                   [&](unsigned segment, bool reads, bool writes) {
                                                     told.at(segment) = {reads, writes};
                                                   }));
  for (unsigned segment = 0; segment < told.size(); ++segment) {
    const unsigned at = 0x59 + (segment + 1) / 2, shift = segment % 2 != 0 ? 0 : 4;
    for (const unsigned field : {1u, 2u, 3u, 0u}) {
      machine.write(0, at, 1, field << shift);
      EXPECT_EQ(machine.read(0, at, 1), field << shift);
      for (unsigned i = 0; i < told.size(); ++i) {
        const unsigned expected = i == segment ? field : 0;
        EXPECT_EQ(told[i], std::pair(expected % 2 != 0, expected / 2 != 0)) << segment << " " << i;
      }
    }
  }
  machine.write(0, 0x58, 4, 0xffffffff);
  EXPECT_EQ(machine.read(0, 0x58, 4), 0x33333000u);
}

TEST_F(PciTest, WithoutShadowMemoryThereIsNothingToAttribute) {
  machine.host.add(0, std::make_unique<HostBridge>(bus, PciProbe::kIdentity, nullptr));
  machine.write(0, 0x58, 4, 0xffffffff);
  EXPECT_EQ(machine.read(0, 0x58, 4), 0u);
}

TEST_F(PciTest, WhatIsNotThereReadsAsOnes) {
  for (uint32_t address = 0; address < 0x1000000; address += 0x100) {
    bus.write_port(0xcf8, 4, 0x80000000 | address);
    const uint32_t expected = address == kSlot << 11 ? 0x56781234 : 0xffffffff;
    ASSERT_EQ(bus.read_port(0xcfc, 4), expected) << std::hex << address;
  }
  bus.write_port(0xcf8, 4, kSlot << 11);
  EXPECT_EQ(bus.read_port(0xcfc, 4), 0xffffffffu) << "it is not enabled";
}

// All of configuration space, byte by byte: what is there, and which bits can be written.
TEST_F(PciTest, EachByteHasItsValueAndItsWritableBits) {
  std::array<uint8_t, 256> value{}, writable{};
  const auto set = [](std::array<uint8_t, 256>& bytes, unsigned at,
                      std::initializer_list<uint8_t> values) {
    std::ranges::copy(values, bytes.begin() + at);
  };
  set(value, 0x00, {0x34, 0x12, 0x78, 0x56});
  set(writable, 0x04, {0x07, 0x04});
  set(value, 0x06, {0x10});
  set(value, 0x08, {9, 0x0c, 0x0b, 0x0a});
  set(writable, 0x0c, {0xff});
  set(value, 0x10, {1});
  set(writable, 0x10, {0xf0, 0xff, 0xff, 0xff, 0x00, 0xf0, 0xff, 0xff});
  set(value, 0x2c, {0x21, 0x43, 0x65, 0x87});
  set(value, 0x34, {0x40});
  set(writable, 0x3c, {0xff});
  set(value, 0x3d, {1});
  set(value, 0x40, {0x09, 0x48, 1, 2, 3, 4, 5, 6, 0x05, 0x00, 1, 2});
  set(writable, 0x43, {0xff, 0x0f});
  for (unsigned at = 0; at < 256; ++at) ASSERT_EQ(read(at, 1), value[at]) << std::hex << at;
  for (unsigned at = 0; at < 256; ++at) {
    write(at, 1, 0xff);
    ASSERT_EQ(read(at, 1), value[at] | writable[at]) << std::hex << at;
    write(at, 1, 0);
    ASSERT_EQ(read(at, 1), value[at] & ~writable[at]) << std::hex << at;
  }
  for (unsigned at = 0; at < 256; at += 4) {
    write(at, 4, 0xffffffff);
    for (unsigned i = 0; i < 4; ++i)
      ASSERT_EQ(read(at + i, 1), value[at + i] | writable[at + i]) << std::hex << at + i;
    ASSERT_EQ(read(at + 2, 2), read(at, 4) >> 16);
    write(at, 4, 0);
  }
}

TEST_F(PciTest, ConfigurationSpaceIsInMemoryToo) {
  constexpr uint64_t kBase = 0xfef00000, kHere = kBase + (kSlot << 15);
  for (uint64_t offset = 0; offset < 1 << 20; offset += 0x1000) {
    ASSERT_EQ(bus.read_memory(kBase + offset, 4),
              kBase + offset == kHere ? 0x56781234u : 0xffffffffu)
        << std::hex << offset;
  }
  bus.write_memory(kHere + 0x43, 2, 0x2233);
  for (unsigned at = 0; at < 256; ++at)
    ASSERT_EQ(bus.read_memory(kHere + at, 1), read(at, 1)) << std::hex << at;
  EXPECT_EQ(read(0x43, 1), 0x33u);
  EXPECT_EQ(read(0x44, 1), 2u | 0x2u);
  EXPECT_EQ(bus.read_memory(kHere + 0x02, 8),
            uint64_t{read(0x08, 2)} << 48 | uint64_t{read(0x04, 4)} << 16 | 0x5678);
  EXPECT_EQ(bus.read_memory(kHere + 0x100, 4), 0xffffffffu) << "no extended space";
  bus.write_memory(kHere + 0x14, 4, 0xd0000000);
  bus.write_memory(kHere + 0x04, 2, 2);
  EXPECT_EQ(bus.read_memory(0xd0000000, 4), 0x2000u);
}

TEST_F(PciTest, BarsAreSized) {
  write(0x10, 4, 0xffffffff);
  write(0x14, 4, 0xffffffff);
  EXPECT_EQ(read(0x10, 4), 0xfffffff1u);
  EXPECT_EQ(read(0x14, 4), 0xfffff000u);
  write(0x18, 4, 0xffffffff);
  EXPECT_EQ(read(0x18, 4), 0u) << "there are two";
}

TEST_F(PciTest, BarsAreDecodedWhereTheyAreAndOnlyWhenEnabled) {
  write(0x10, 4, 0xc000);
  write(0x14, 4, 0xd0000000);
  EXPECT_EQ(bus.read_port(0xc004, 1), 0xffu);
  EXPECT_EQ(bus.read_memory(0xd0000008, 4), 0xffffffffu);
  write(0x04, 2, 1);
  EXPECT_EQ(bus.read_port(0xc004, 1), 0x14u);
  EXPECT_EQ(bus.read_memory(0xd0000008, 4), 0xffffffffu);
  write(0x04, 2, 2);
  EXPECT_EQ(bus.read_port(0xc004, 1), 0xffu);
  EXPECT_EQ(bus.read_memory(0xd0000ffc, 4), 0x2ffcu);
  write(0x14, 4, 0xe0000000);
  EXPECT_EQ(bus.read_memory(0xd0000008, 4), 0xffffffffu) << "it has moved";
  EXPECT_EQ(bus.read_memory(0xe0000008, 4), 0x2008u);
  write(0x17, 1, 0xf0);
  EXPECT_EQ(bus.read_memory(0xf0000008, 4), 0x2008u) << "by one byte of it";
}

TEST_F(PciTest, WhatOverlapsIsNotDecodedUntilThereIsRoom) {
  add(machine, 7);
  for (const unsigned slot : {7u, kSlot}) {
    machine.write(slot, 0x14, 4, 0xd0000000);
    machine.write(slot, 0x10, 4, 0xcf0);
    machine.write(slot, 0x04, 2, 3);
  }
  EXPECT_EQ(bus.read_port(0xcf8, 4), 0x80000004u | kSlot << 11) << "fixed devices stay";
  EXPECT_EQ(bus.read_port(0xcf0, 1), 0xffu);
  EXPECT_EQ(bus.read_memory(0xd0000000, 4), 0x2000u);
  write(0x14, 4, 0xd0001000);
  EXPECT_EQ(bus.read_memory(0xd0000000, 4), 0x2000u) << "the other one is there now";
  EXPECT_EQ(bus.read_memory(0xd0001000, 4), 0x2000u);
  write(0x10, 4, 0x12340000);
  EXPECT_EQ(bus.read_port(0, 1), 0xffu) << "there are 64 Ki ports";
}

TEST_F(PciTest, TheInterruptPin) {
  probe->interrupt(true);
  EXPECT_TRUE(machine.levels[17]) << "slot 5";
  EXPECT_EQ(read(0x06, 2), 0x18u);
  EXPECT_EQ(read(0x04, 4), 0x180000u);
  write(0x04, 2, 0x400);
  EXPECT_FALSE(machine.levels[17]);
  EXPECT_EQ(read(0x06, 2), 0x18u) << "the status is not masked";
  write(0x04, 2, 0);
  EXPECT_TRUE(machine.levels[17]);
  probe->interrupt(false);
  EXPECT_FALSE(machine.levels[17]);
  EXPECT_EQ(read(0x06, 2), 0x10u);
}

TEST_F(PciTest, GoesOnFromItsSavedState) {
  write(0x14, 4, 0xd0000000);
  write(0x10, 4, 0xc000);
  write(0x04, 2, 3);
  probe->interrupt(true);
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::PciMachine other;
  add(other, kSlot);
  other.write(kSlot, 0x14, 4, 0xe0000000);
  other.write(kSlot, 0x04, 2, 2);
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  EXPECT_EQ(other.bus.read_memory(0xd0000008, 4), 0x2008u);
  EXPECT_EQ(other.bus.read_memory(0xe0000008, 4), 0xffffffffu);
  EXPECT_EQ(other.bus.read_port(0xc000, 1), 0x10u);
  EXPECT_EQ(other.read(kSlot, 0x06, 2), 0x18u);
  EXPECT_EQ(saved_bytes([&](Archive& archive) { machine.serialize(archive); }), bytes);
}

TEST_F(PciTest, RefusesAStateThatChangesWhatIsReadOnly) {
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  const size_t first = 8 + 4 + 1;  // behind the clock and what the host itself has
  for (const auto& [offset, loads] : {std::pair(0x00u, false), {0x08u, false}, {0x3cu, true}}) {
    auto changed = bytes;
    changed[first + offset] ^= 1;
    test::PciMachine other;
    add(other, kSlot);
    EXPECT_EQ(load_bytes(changed, [&](Archive& archive) { other.serialize(archive); }), loads)
        << offset;
  }
}

TEST_F(PciTest, RefusesWhatCannotBe) {
  EXPECT_THROW(add(machine, kSlot), std::logic_error);
  EXPECT_THROW(PciFunction(bus, PciProbe::kIdentity, {{Space::kMemory, 0x1800}}, std::nullopt),
               std::logic_error);
  EXPECT_THROW(PciFunction(bus, PciProbe::kIdentity, {{Space::kPorts, 2}}, std::nullopt),
               std::logic_error);
}

// --- MSI-X

class MsixTest : public testing::Test {
 protected:
  // A message of vector 0x40 + `entry` to APIC ID 5.
  void fill(unsigned entry) {
    msix.write_memory(16 * entry, 4, 0xfee05000);
    msix.write_memory(16 * entry + 8, 4, 0x40 + entry);
    msix.write_memory(16 * entry + 12, 4, 0);
  }
  uint64_t pending() { return msix.read_memory(Msix::kPendingOffset, 8); }

  std::vector<Ipi> sent;
  Msix msix{3, [this](const Ipi& ipi) { sent.push_back(ipi); }};
};

TEST_F(MsixTest, TheTableIsMaskedAtFirstAndHasItsBits) {
  EXPECT_EQ(msix.read_memory(12, 4), 1u);
  msix.write_memory(0, 8, ~0ull);
  msix.write_memory(8, 8, ~0ull);
  EXPECT_EQ(msix.read_memory(0, 8), 0xfffffffffffffffcu);
  EXPECT_EQ(msix.read_memory(8, 8), 0x1ffffffffu);
  msix.write_memory(5, 1, 0);
  EXPECT_EQ(msix.read_memory(4, 4), 0xffff00ffu);
  msix.write_memory(48, 4, ~0ull);
  EXPECT_EQ(msix.read_memory(48, 4), 0u) << "behind the table";
  msix.write_memory(Msix::kPendingOffset, 8, ~0ull);
  EXPECT_EQ(pending(), 0u);
}

TEST_F(MsixTest, SendsWhenEnabled) {
  fill(1);
  msix.signal(1);
  EXPECT_TRUE(sent.empty());
  msix.control(Msix::kEnable, true);
  EXPECT_TRUE(sent.empty()) << "nothing was pending";
  msix.signal(1);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].vector, 0x41);
  EXPECT_EQ(sent[0].destination, 5u);
  EXPECT_EQ(sent[0].mode, DeliveryMode::kFixed);
  EXPECT_FALSE(sent[0].logical || sent[0].level || sent[0].wide);
  msix.signal(3);
  msix.signal(0xffff);
  EXPECT_EQ(sent.size(), 1u) << "there are no such vectors";
}

TEST_F(MsixTest, WhatIsMaskedWaits) {
  fill(0);
  fill(2);
  msix.write_memory(12, 4, 1);
  msix.control(Msix::kEnable, true);
  msix.signal(0);
  msix.signal(0);
  EXPECT_EQ(pending(), 1u);
  msix.control(Msix::kEnable | Msix::kFunctionMask, true);
  msix.signal(2);
  EXPECT_EQ(pending(), 5u);
  EXPECT_TRUE(sent.empty());
  msix.control(Msix::kEnable, false);
  EXPECT_TRUE(sent.empty()) << "only a bus master may write";
  msix.control(Msix::kEnable, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].vector, 0x42);
  msix.write_memory(12, 4, 0);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[1].vector, 0x40);
  EXPECT_EQ(pending(), 0u);
}

TEST_F(MsixTest, ReadsMessagesAsTheManualHasThem) {
  fill(0);
  msix.control(Msix::kEnable, true);
  msix.write_memory(0, 4, 0xfeeff004);
  msix.write_memory(8, 4, 0x8131);
  msix.signal(0);
  msix.write_memory(0, 4, 0xfee0300c);
  msix.write_memory(8, 4, 0x31);
  msix.signal(0);
  msix.write_memory(0, 4, 0xfed03000);
  msix.signal(0);
  msix.write_memory(0, 8, 0x1fee03000);
  msix.signal(0);
  ASSERT_EQ(sent.size(), 2u) << "a write to memory is no message";
  EXPECT_TRUE(sent[0].logical && sent[0].level);
  EXPECT_EQ(sent[0].destination, 0xffu);
  EXPECT_EQ(sent[0].mode, DeliveryMode::kLowestPriority);
  EXPECT_EQ(sent[1].mode, DeliveryMode::kLowestPriority) << "the redirection hint";
}

TEST_F(MsixTest, GoesOnFromItsSavedState) {
  fill(0);
  msix.control(Msix::kEnable | Msix::kFunctionMask, true);
  msix.signal(0);
  const auto bytes = saved_bytes([&](Archive& archive) { msix.serialize(archive); });
  std::vector<Ipi> later;
  Msix other(3, [&](const Ipi& ipi) { later.push_back(ipi); });
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  other.control(Msix::kEnable, true);
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].vector, 0x40);
}

class IsaBridgeTest : public testing::Test {
 protected:
  IsaBridgeTest() {
    const PciFunction::Identity identity = {
        .vendor = 0x8086, .device = 0x7000, .revision = 0, .class_code = 0x060100};
    machine.host.add(1, std::make_unique<IsaBridge>(machine.bus, identity, machine.lines, 16));
  }
  std::vector<unsigned> high_irqs() {
    std::vector<unsigned> irqs;
    for (unsigned irq = 0; irq < 16; ++irq) {
      if (machine.levels[irq]) irqs.push_back(irq);
    }
    return irqs;
  }
  test::PciMachine machine;
};

TEST_F(IsaBridgeTest, RoutesThePinsOfPci) {
  EXPECT_EQ(machine.read(1, 0x60, 4), 0x80808080u);
  InterruptSource pins[] = {machine.lines.source(16), machine.lines.source(17),
                            machine.lines.source(18), machine.lines.source(19)};
  for (InterruptSource& pin : pins) pin.set(true);
  EXPECT_EQ(high_irqs(), std::vector<unsigned>{}) << "no route is enabled";
  machine.write(1, 0x60, 4, 0xff0b0b05);
  EXPECT_EQ(machine.read(1, 0x60, 4), 0x8f0b0b05u);
  EXPECT_EQ(high_irqs(), (std::vector<unsigned>{5, 11}));
  pins[1].set(false);
  EXPECT_EQ(high_irqs(), (std::vector<unsigned>{5, 11})) << "another pin holds it";
  pins[2].set(false);
  EXPECT_EQ(high_irqs(), (std::vector<unsigned>{5}));
  machine.write(1, 0x60, 1, 0x0a);
  EXPECT_EQ(high_irqs(), (std::vector<unsigned>{10}));
  machine.write(1, 0x60, 1, 0x8a);
  EXPECT_EQ(high_irqs(), std::vector<unsigned>{});
}

TEST_F(IsaBridgeTest, RoutesToNoReservedIrq) {
  InterruptSource pin = machine.lines.source(16);
  pin.set(true);
  for (uint32_t irq = 0; irq < 16; ++irq) {
    machine.write(1, 0x60, 1, irq);
    const bool reserved = irq < 3 || irq == 8 || irq == 13;
    EXPECT_EQ(high_irqs(), reserved ? std::vector<unsigned>{} : std::vector{irq});
  }
}

TEST_F(IsaBridgeTest, GoesOnAfterALoad) {
  machine.write(1, 0x61, 1, 0x0a);
  InterruptSource pin = machine.lines.source(17);
  pin.set(true);
  const auto saved = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  pin.set(false);
  machine.write(1, 0x61, 1, 0x80);
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) { machine.serialize(archive); }));
  machine.write(1, 0x61, 1, 0x0b);
  EXPECT_EQ(high_irqs(), (std::vector<unsigned>{11}));
}

// A function with MSI.
class MsiProbe final : public PciFunction {
 public:
  explicit MsiProbe(test::PciMachine& machine)
      : PciFunction(machine.bus, PciProbe::kIdentity, {{Space::kMemory, 0x1000}},
                    machine.lines.source(17)) {
    add_msi(machine.message());
  }
  void interrupt(bool level) { set_interrupt(level); }
};

class MsiTest : public testing::Test {
 protected:
  MsiTest() {
    auto made = std::make_unique<MsiProbe>(machine);
    probe = made.get();
    machine.host.add(1, std::move(made));
    msi = machine.capability(1, 0x05);
    machine.write(1, 0x04, 2, 4);
    machine.write(1, msi + 4, 4, 0xfee00000);
    machine.write(1, msi + 12, 2, 0x61);
  }
  test::PciMachine machine;
  MsiProbe* probe;
  unsigned msi;
};

TEST_F(MsiTest, HasItsRegisters) {
  EXPECT_EQ(machine.read(1, msi + 2, 2), 0x0180u) << "64 bits, a mask, one message";
  machine.write(1, msi + 2, 2, 0xffff);
  EXPECT_EQ(machine.read(1, msi + 2, 2), 0x01f1u);
  machine.write(1, msi + 4, 4, 0xffffffff);
  EXPECT_EQ(machine.read(1, msi + 4, 4), 0xfffffffcu);
  machine.write(1, msi + 16, 4, 0xffffffff);
  EXPECT_EQ(machine.read(1, msi + 16, 4), 1u);
  machine.write(1, msi + 20, 4, 1);
  EXPECT_EQ(machine.read(1, msi + 20, 4), 0u) << "what is pending is read-only";
}

TEST_F(MsiTest, ReplacesThePinWhileItIsEnabled) {
  probe->interrupt(true);
  EXPECT_TRUE(machine.levels[17]);
  machine.write(1, msi + 2, 2, 1);
  EXPECT_FALSE(machine.levels[17]);
  EXPECT_TRUE(machine.messages.empty()) << "it was asserted before";
  probe->interrupt(false);
  probe->interrupt(true);
  probe->interrupt(true);
  EXPECT_EQ(machine.messages.size(), 1u) << "an edge";
  machine.write(1, msi + 2, 2, 0);
  EXPECT_TRUE(machine.levels[17]);
}

TEST_F(MsiTest, WaitsForBusMasteringAndGoesOnAfterALoad) {
  machine.write(1, msi + 2, 2, 1);
  machine.write(1, 0x04, 2, 0);
  probe->interrupt(true);
  EXPECT_TRUE(machine.messages.empty());
  const auto saved = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::PciMachine other;
  other.host.add(1, std::make_unique<MsiProbe>(other));
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) { other.serialize(archive); }));
  other.write(1, 0x04, 2, 4);
  ASSERT_EQ(other.messages.size(), 1u);
  EXPECT_EQ(other.messages[0].vector, 0x61);
}

TEST_F(MsiTest, AWriteElsewhereIsNoInterrupt) {
  machine.write(1, msi + 2, 2, 1);
  machine.write(1, msi + 8, 4, 1);
  probe->interrupt(true);
  EXPECT_TRUE(machine.messages.empty());
  EXPECT_EQ(machine.read(1, msi + 20, 4), 0u);
}

}  // namespace
}  // namespace nestor::emu
