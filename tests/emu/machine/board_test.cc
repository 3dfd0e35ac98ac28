// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/board.h"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "emu/devices/apic/io_apic.h"
#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/pci_fixture.h"
#include "tests/emu/devices/random_device_guest.h"

namespace nestor::emu {
namespace {

// Counts down from what is written to its port, in cycles, and raises its line at the end. Reading
// the port lowers the line; its memory says how often it has rung.
class Alarm : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 4}, {Space::kMemory, 0x1000}};

  explicit Alarm(const DeviceContext& context)
      : clock_(context.clock),
        interrupt_(context.interrupt()),
        timer_(context.timers, std::string(context.row.name), [this](uint64_t) {
          ++rung_;
          interrupt_.set(true);
        }) {}

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress, unsigned) override {
    interrupt_.set(false);
    return 0;
  }
  void write_port(DeviceAddress, unsigned, uint32_t value) override {
    timer_.set(clock_.cycles() + value);
  }
  uint64_t read_memory(DeviceAddress at, unsigned) override { return rung_ + at.offset; }

 private:
  const Clock& clock_;
  InterruptSource interrupt_;
  uint64_t rung_ = 0;
  EventQueue::Timer timer_;
};

std::unique_ptr<Device> make_alarm(const DeviceContext& context) {
  return std::make_unique<Alarm>(context);
}

// The row that adds the device to a machine.
const BoardRow kAlarmRow = {"alarm", BoardKind::kBoth, {0x300, 0xe0000000}, 9, make_alarm};

TEST(BoardTest, ADeviceIsOneRow) {
  Clock clock;
  Bus bus;
  Board board(std::span(&kAlarmRow, 1), BoardKind::kNative, {}, {}, bus, clock);
  std::vector<std::pair<unsigned, bool>> levels;
  board.lines().lead_to([&](unsigned line, bool level) { levels.emplace_back(line, level); });
  bus.write_port(0x300, 4, 500);
  EXPECT_EQ(bus.deadline(), 500u);
  ASSERT_NE(bus.timers().find("alarm"), nullptr);
  clock.advance_to(500);
  bus.expire(500);
  EXPECT_EQ(bus.read_memory(0xe0000000, 1), 1u);
  bus.read_port(0x300, 4);
  EXPECT_EQ(levels, (std::vector<std::pair<unsigned, bool>>{{9, true}, {9, false}}));
}

TEST(BoardTest, ClaimsOfADeviceMoveAndEnd) {
  Clock clock;
  Bus bus;
  Board board(std::span(&kAlarmRow, 1), BoardKind::kNative, {}, {}, bus, clock);
  ASSERT_EQ(board.devices().size(), 1u);
  EXPECT_EQ(board.devices()[0].name, "alarm");
  std::vector<Claim>& claims = board.devices()[0].claims;
  ASSERT_EQ(claims.size(), 2u);
  ASSERT_TRUE(claims[1].move_to(0xd0000000));
  EXPECT_EQ(bus.read_memory(0xd0000020, 1), 0x20u);
  EXPECT_EQ(bus.read_memory(0xe0000020, 1), 0xffu);
  claims[1].release();
  EXPECT_EQ(bus.read_memory(0xd0000020, 1), 0xffu);
  EXPECT_EQ(bus.read_port(0x300, 1), 0u) << "the ports stay";
}

TEST(BoardTest, RefusesRowsThatOverlap) {
  const BoardRow rows[] = {kAlarmRow,
                           {"other", BoardKind::kBoth, {0x303, 0xd0000000}, {}, make_alarm}};
  Clock clock;
  Bus bus;
  try {
    Board board(rows, BoardKind::kSoftware, {}, {}, bus, clock);
    FAIL() << "ports 303H are taken";
  } catch (const std::logic_error& error) {
    EXPECT_NE(std::string(error.what()).find("other"), std::string::npos);
  }
}

TEST(BoardTest, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const BoardRow& row : pc_board()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
  EXPECT_GT(names.size(), 5u);
}

// The PC with one local APIC.
class PcBoardTest : public testing::Test {
 protected:
  BoardOutputs outputs() {
    BoardOutputs outputs;
    outputs.intr = [this](bool level) {
      intr = level;
      local_apic.set_lint0(level);
    };
    outputs.interrupt_message = [this](const Ipi& ipi) {
      vectors.push_back(ipi.vector);
      if (local_apic.accepts(ipi)) local_apic.deliver(ipi);
    };
    return outputs;
  }
  uint64_t fw_cfg(uint16_t selector, unsigned size) {
    bus.write_port(0x510, 2, selector);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{bus.read_port(0x511, 1)} << (8 * i);
    return value;
  }

  Clock clock;
  Bus bus;
  LocalApic local_apic{clock, bus.timers(), 0, true};
  bool intr = false;
  std::vector<uint8_t> vectors;
  Board board{pc_board(), BoardKind::kSoftware, {64 << 20, 3}, outputs(), bus, clock};
};

TEST_F(PcBoardTest, FwCfgSaysWhatTheMachineHas) {
  EXPECT_EQ(fw_cfg(0x03, 8), uint64_t{64 << 20});
  EXPECT_EQ(fw_cfg(0x05, 2), 3u);
}

TEST_F(PcBoardTest, TheNativePcLacksWhatTheKernelHas) {
  Bus other;
  const Board native(pc_board(), BoardKind::kNative, {64 << 20, 1}, {}, other, clock);
  EXPECT_EQ(other.read_port(0x21, 1), 0xffu);
  EXPECT_EQ(other.read_memory(0xfec00000, 4), 0xffffffffu);
  EXPECT_FALSE(native.inputs().acknowledge);
  EXPECT_EQ(other.read_port(0xe9, 1), 0xe9u);
  EXPECT_TRUE(board.inputs().acknowledge && board.inputs().end_of_interrupt);
}

// Software gives the registers of ACPI another place; they stay at that of the tables as well.
TEST_F(PcBoardTest, TheRegistersOfAcpiMoveToo) {
  const auto configuration = [this](uint32_t offset) -> uint16_t {
    bus.write_port(0xcf8, 4, 0x80000b00 | (offset & 0xfc));
    return static_cast<uint16_t>(0xcfc + offset % 4);
  };
  EXPECT_EQ(bus.read_port(configuration(0x40), 4), 0x601u);
  EXPECT_EQ(bus.read_port(configuration(0x80), 1), 1u);
  EXPECT_EQ(bus.read_port(0xb004, 2), 0xffffu);
  bus.write_port(configuration(0x40), 4, 0xffffb001);
  EXPECT_EQ(bus.read_port(configuration(0x40), 4), 0xb001u);
  EXPECT_EQ(bus.read_port(0xb004, 2), bus.read_port(0x604, 2));
  bus.write_port(0xb002, 2, 0x0100);  // PM1 enable
  EXPECT_EQ(bus.read_port(0x602, 2), 0x0100u);
  clock.charge(1'000'000);
  EXPECT_EQ(bus.read_port(0xb008, 4), bus.read_port(0x608, 4));
  EXPECT_NE(bus.read_port(0xb008, 4), 0u);
  bus.write_port(configuration(0x80), 1, 0);
  EXPECT_EQ(bus.read_port(0xb004, 2), 0xffffu);
  EXPECT_EQ(bus.read_port(0x602, 2), 0x0100u);
}

TEST_F(PcBoardTest, LinesLeadToBothControllers) {
  for (unsigned pin = 0; pin < IoApic::kPins; ++pin) {
    bus.write_memory(0xfec00000, 4, 0x10 + 2 * pin);
    bus.write_memory(0xfec00010, 4, 0x40 + pin);
  }
  bus.write_port(0x21, 1, 0);
  bus.write_port(0x2000, 1, 1);  // pc-testdev
  EXPECT_TRUE(intr);
  EXPECT_EQ(vectors, (std::vector<uint8_t>{0x42}));
  bus.write_port(0x2017, 1, 1);
  bus.write_port(0x200e, 1, 1);
  EXPECT_EQ(vectors, (std::vector<uint8_t>{0x42, 0x57, 0x4e}));
}

TEST_F(PcBoardTest, TheBridgesAreOnThePciBus) {
  const auto read = [this](unsigned slot, unsigned offset) {
    bus.write_port(0xcf8, 4, 0x80000000 | slot << 11 | offset);
    return bus.read_port(0xcfc, 4);
  };
  EXPECT_EQ(read(0, 0x00), 0x12378086u);
  EXPECT_EQ(read(0, 0x08) >> 8, 0x060000u);
  EXPECT_EQ(read(1, 0x00), 0x70008086u);
  EXPECT_EQ(read(1, 0x08) >> 8, 0x060100u);
  for (unsigned slot = 0; slot < 32; ++slot) {
    bus.write_port(0xcf8, 4, 0x80000100 | slot << 11);
    EXPECT_EQ(bus.read_port(0xcfc, 4), 0xffffffffu) << "no second function in slot " << slot;
  }
}

// The PC with memory for devices and two disks.
TEST(PciSlotsTest, HaveWhatTheConfigurationSays) {
  const test::DiskFile one(std::vector<uint8_t>(512)), two(std::vector<uint8_t>(1024));
  test::FakeMemory memory(0x1000);
  Clock clock;
  Bus bus;
  std::vector<uint8_t> vectors;
  BoardOutputs outputs;
  outputs.interrupt_message = [&](const Ipi& ipi) { vectors.push_back(ipi.vector); };
  outputs.memory = &memory;
  BoardFacts facts;
  facts.disks = {{one.path}, {two.path}};
  const Board board(pc_board(), BoardKind::kSoftware, facts, outputs, bus, clock);
  const auto slot = [](uint64_t number) { return kPciConfigurationBase + (number << 15); };
  EXPECT_EQ(bus.read_memory(slot(2), 4), 0x10441af4u);
  EXPECT_EQ(bus.read_memory(slot(5), 4), 0xffffffffu);
  for (unsigned i = 0; i < 4; ++i) {
    bus.write_memory(kIoApicBase, 4, 0x10 + 2 * (16 + i));
    bus.write_memory(kIoApicBase + 0x10, 4, 0x8040 + i);  // level-triggered
  }
  for (const unsigned number : {3u, 4u}) {
    const uint64_t base = 0xc0000000 + 0x10000 * uint64_t{number};
    EXPECT_EQ(bus.read_memory(slot(number), 4), 0x10421af4u);
    bus.write_memory(slot(number) + 0x10, 4, base);
    bus.write_memory(slot(number) + 0x04, 2, 6);
    EXPECT_EQ(bus.read_memory(base + 0x2000, 8), number - 2) << "sectors";
    // A queue that is not in memory: the device needs a reset, and says so.
    bus.write_memory(base + 0x08, 4, 1);
    bus.write_memory(base + 0x0c, 4, 1);
    bus.write_memory(base + 0x14, 1, 0xb);
    bus.write_memory(base + 0x28, 4, 0x1000);
    bus.write_memory(base + 0x1c, 2, 1);
    bus.write_memory(base + 0x14, 1, 0xf);
    EXPECT_EQ(bus.read_memory(base + 0x14, 1), 0x4fu);
  }
  EXPECT_EQ(vectors, (std::vector<uint8_t>{0x43, 0x40})) << "lines 19 and 16";
}

TEST_F(PcBoardTest, OnlyOneFitsOnABus) {
  EXPECT_THROW(Board(pc_board(), BoardKind::kSoftware, {}, {}, bus, clock), std::logic_error);
}

using Guest = test::RandomDeviceGuest;

// Whatever a guest does to the devices, they answer within the width of the access, and nothing
// stays due.
TEST(PcDevicesTest, AnyAccessIsAnswered) {
  Guest guest(1);
  for (int i = 0; i < 200'000; ++i) ASSERT_NO_THROW(guest.step()) << i;
  EXPECT_GT(guest.taken, 0u);
}

TEST(PcDevicesTest, GoOnFromTheirSavedState) {
  Guest first(7);
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 1000; ++i) first.step();
    const std::vector<uint8_t> bytes = first.saved();
    Guest second(8);
    for (int i = 0; i < 1000; ++i) second.step();  // nothing of this is left after the load
    ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { second.serialize(archive); }));
    ASSERT_EQ(second.saved(), bytes);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(first.step(), second.step()) << round << " " << i;
  }
}

TEST(PcDevicesTest, RefuseAStateThatEndsEarly) {
  Guest guest(7);
  for (int i = 0; i < 1000; ++i) guest.step();
  const std::vector<uint8_t> bytes = guest.saved();
  for (size_t size = 0; size < bytes.size(); size += size < 1000 ? 1 : 997) {
    EXPECT_FALSE(load_bytes(std::span(bytes).first(size), [](Archive& archive) {
      Guest(8).serialize(archive);
    })) << size;
  }
}

}  // namespace
}  // namespace nestor::emu
