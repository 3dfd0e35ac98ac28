// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/ahci.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <vector>

#include "emu/memory/little_endian.h"
#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/pci_fixture.h"

namespace nestor::emu {
namespace {

using Bytes = std::vector<uint8_t>;

// 40 blocks, each byte known by its place.
Bytes disc_content() {
  Bytes content(40 * CdDrive::kBlockBytes);
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<uint8_t>(i * 7 + (i >> 11) * 3 + (i >> 8));
  return content;
}

class AhciTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 3;
  static constexpr uint64_t kBar = 0xd0000000, kPort = kBar + 0x100;
  static constexpr uint64_t kList = 0x1000, kReceived = 0x1800, kTable = 0x2000, kData = 0x4000;

  AhciTest() { add(machine); start(); }
  void add(test::PciMachine& to) {
    constexpr PciFunction::Identity kIdentity = {
        .vendor = 1, .device = 2, .revision = 0, .class_code = 0x010601};
    to.host.add(kSlot, std::make_unique<AhciController>(
                           AhciController::Place{to.bus, to.clock, to.memory, to.lines.source(19),
                                                 to.message()},
                           kIdentity, std::make_unique<CdDrive>(
                                          std::make_unique<Disk>(DiskConfig{file_.path}))));
  }
  // As a driver does.
  void start() {
    machine.write(kSlot, 0x24, 4, kBar);
    machine.write(kSlot, 0x04, 2, 0x0006);
    set(kBar + 0x04, 1u << 31 | 2);
    set(kPort + 0x00, kList), set(kPort + 0x04, 0);
    set(kPort + 0x08, kReceived), set(kPort + 0x0c, 0);
    set(kPort + 0x14, 0x7dc000ff);
    set(kPort + 0x18, 1u << 4);
    set(kPort + 0x18, 1u << 4 | 1);
  }
  uint32_t get(uint64_t address) {
    return static_cast<uint32_t>(machine.bus.read_memory(address, 4));
  }
  void set(uint64_t address, uint64_t value) { machine.bus.write_memory(address, 4, value); }

  struct Region {
    uint64_t address;
    uint32_t bytes;
  };
  void put_command(unsigned slot, const Bytes& fis, const Bytes& packet,
                   const std::vector<Region>& regions) {
    auto& memory = machine.memory;
    const uint64_t table = kTable + slot * 0x100;
    memory.put(kList + 32 * slot, 5 | 1u << 5 | uint64_t{regions.size()} << 16, 8);
    memory.put(kList + 32 * slot + 8, table, 8);
    for (size_t i = 0; i < 0x80; ++i) memory.bytes[table + i] = 0;
    std::ranges::copy(fis, memory.bytes.begin() + static_cast<std::ptrdiff_t>(table));
    std::ranges::copy(packet, memory.bytes.begin() + static_cast<std::ptrdiff_t>(table + 0x40));
    for (size_t i = 0; i < regions.size(); ++i) {
      memory.put(table + 0x80 + 16 * i, regions[i].address, 8);
      memory.put(table + 0x88 + 16 * i, uint64_t{regions[i].bytes - 1} << 32, 8);
    }
  }
  void issue(unsigned slots = 1) {
    set(kPort + 0x38, slots);
    machine.pass(200'000'000);
  }
  static Bytes command_fis(uint8_t command, uint8_t features = 1) {
    return {0x27, 0x80, command, features};
  }
  // Returns how many bytes came to kData; -1: an error.
  int64_t packet(const Bytes& packet, uint32_t room = 0x8000) {
    put_command(0, command_fis(0xa0), packet, {{kData, room}});
    issue();
    if ((get(kPort + 0x20) & 1) != 0) return -1;
    return static_cast<int64_t>(machine.memory.get(kList + 4, 4));
  }
  Bytes data(size_t size, uint64_t at = kData) const {
    const auto first = machine.memory.bytes.begin() + static_cast<std::ptrdiff_t>(at);
    return {first, first + static_cast<std::ptrdiff_t>(size)};
  }
  Bytes on_disc(size_t block, size_t count) const {
    const auto first = content_.begin() + static_cast<std::ptrdiff_t>(block * 2048);
    return {first, first + static_cast<std::ptrdiff_t>(count * 2048)};
  }
  // After an error: the port starts anew, and the drive says why. Key, code and qualifier.
  std::array<uint8_t, 3> sense() {
    EXPECT_EQ(get(kPort + 0x10) & 1u << 30, 1u << 30);
    EXPECT_EQ(get(kPort + 0x38), 1u) << "the command stays where it is";
    set(kPort + 0x10, ~0u);
    set(kPort + 0x18, 1u << 4);
    EXPECT_EQ(get(kPort + 0x38), 0u);
    set(kPort + 0x18, 1u << 4 | 1);
    EXPECT_EQ(packet({0x03, 0, 0, 0, 18}), 18);
    const Bytes told = data(18);
    return {told[2], told[12], told[13]};
  }

  const Bytes content_ = disc_content();
  const test::DiskFile file_{content_};
  test::PciMachine machine;
};

TEST_F(AhciTest, SaysWhatItIs) {
  EXPECT_EQ(get(kBar + 0x00), 0x81141f00u);
  EXPECT_EQ(get(kBar + 0x0c), 1u);
  EXPECT_EQ(get(kBar + 0x10), 0x00010301u);
  EXPECT_EQ(get(kPort + 0x24), 0xeb140101u);
  EXPECT_EQ(get(kPort + 0x28), 0x113u);
  EXPECT_EQ(get(kPort + 0x18), 0xc011u) << "it receives and runs";
  EXPECT_EQ(machine.bus.read_memory(kBar + 0x08, 8), 0x0000000100000000u);
  EXPECT_EQ(machine.bus.read_memory(kPort + 0x25, 1), 0x01u);
  for (const unsigned bar : {0x10u, 0x14u, 0x18u, 0x1cu, 0x20u}) {
    machine.write(kSlot, bar, 4, 0xffffffff);
    EXPECT_EQ(machine.read(kSlot, bar, 4), 0u) << bar;
  }
}

TEST_F(AhciTest, IdentifiesTheDrive) {
  put_command(0, command_fis(0xa1, 0), {}, {{kData, 512}});
  issue();
  const Bytes identity = data(512);
  EXPECT_EQ(load_little_endian(std::span(identity).first(2)), 0x85c0u);
  std::string model(identity.begin() + 54, identity.begin() + 94);
  for (size_t i = 0; i < model.size(); i += 2) std::swap(model[i], model[i + 1]);
  EXPECT_EQ(model.find("NESTOR CD-ROM"), 0u);
  EXPECT_EQ(get(kPort + 0x10), 2u) << "a PIO Setup FIS";
  EXPECT_EQ(machine.memory.bytes[kReceived + 0x20], 0x5f);
  EXPECT_EQ(machine.memory.get(kList + 4, 4), 512u);
}

TEST_F(AhciTest, ReadsIntoScatteredMemory) {
  for (const uint8_t operation : {uint8_t{0x28}, uint8_t{0xa8}}) {
    Bytes packet(12);
    packet[0] = operation;
    packet[5] = 5;
    packet[operation == 0x28 ? 8 : 9] = 3;
    put_command(0, command_fis(0xa0), packet, {{kData, 1000}, {0x9000, 4096}, {0xb000, 2000}});
    issue();
    EXPECT_EQ(get(kPort + 0x20), 0x50u);
    EXPECT_EQ(get(kPort + 0x38), 0u);
    EXPECT_EQ(machine.memory.get(kList + 4, 4), 6144u);
    Bytes all = data(1000);
    for (const auto& [at, size] : {std::pair(0x9000u, 4096u), {0xb000u, 1048u}}) {
      const Bytes more = data(size, at);
      all.insert(all.end(), more.begin(), more.end());
    }
    EXPECT_EQ(all, on_disc(5, 3));
  }
}

TEST_F(AhciTest, ExecutesOneCommandAfterAnother) {
  for (const unsigned slot : {3u, 0u, 31u}) {
    put_command(slot, command_fis(0xa0), {0x28, 0, 0, 0, 0, static_cast<uint8_t>(slot), 0, 0, 1},
                {{kData + slot * 0x800, 2048}});
  }
  set(kPort + 0x38, 1u << 3 | 1u | 1u << 31);
  EXPECT_EQ(get(kPort + 0x38), 0x80000009u);
  machine.pass(AhciController::kCommandCycles + AhciController::kCyclesPerBlock);
  EXPECT_EQ(get(kPort + 0x38), 0x80000008u);
  machine.pass(AhciController::kCommandCycles + AhciController::kCyclesPerBlock);
  machine.pass(AhciController::kCommandCycles + AhciController::kCyclesPerBlock);
  EXPECT_EQ(get(kPort + 0x38), 0u);
  for (const unsigned slot : {3u, 0u, 31u})
    EXPECT_EQ(data(2048, kData + slot * 0x800), on_disc(slot, 1)) << slot;
}

TEST_F(AhciTest, InterruptsUntilBothStatusesAreCleared) {
  EXPECT_FALSE(machine.levels[19]);
  EXPECT_EQ(packet({0x00}), 0);
  EXPECT_TRUE(machine.levels[19]);
  EXPECT_EQ(get(kBar + 0x08), 1u);
  set(kBar + 0x08, 1);
  EXPECT_TRUE(machine.levels[19]) << "the port still has a cause";
  set(kPort + 0x10, ~0u);
  set(kBar + 0x08, 1);
  EXPECT_FALSE(machine.levels[19]);
  set(kPort + 0x14, 0);
  EXPECT_EQ(packet({0x00}), 0);
  EXPECT_FALSE(machine.levels[19]) << "not enabled";
  set(kPort + 0x14, 1);
  EXPECT_TRUE(machine.levels[19]) << "the cause was kept";
}

TEST_F(AhciTest, TellsWhyACommandFails) {
  using Sense = std::array<uint8_t, 3>;
  EXPECT_EQ(packet({0x2a, 0, 0, 0, 0, 0, 0, 0, 1}), -1) << "WRITE(10)";
  EXPECT_EQ(get(kPort + 0x20), 0x5451u);
  EXPECT_EQ(sense(), (Sense{5, 0x20, 0}));
  EXPECT_EQ(packet({0x28, 0, 0, 0, 0, 39, 0, 0, 2}), -1) << "beyond the end";
  EXPECT_EQ(sense(), (Sense{5, 0x21, 0}));
  EXPECT_EQ(packet({0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1}), -1);
  EXPECT_EQ(sense(), (Sense{5, 0x21, 0}));
  EXPECT_EQ(packet({0x1b, 0, 0, 0, 2}), -1) << "eject";
  EXPECT_EQ(sense(), (Sense{5, 0x53, 2}));
  EXPECT_EQ(packet({0x12, 1, 0x80, 0, 96}), -1) << "vital product data";
  EXPECT_EQ(sense(), (Sense{5, 0x24, 0}));
  EXPECT_EQ(packet({0x03, 0, 0, 0, 18}), 18);
  EXPECT_EQ(data(3)[2], 0u) << "it was told";
}

TEST_F(AhciTest, AnswersWhatDriversAsk) {
  EXPECT_EQ(packet({0x25}), 8);
  EXPECT_EQ(data(8), (Bytes{0, 0, 0, 39, 0, 0, 8, 0}));
  EXPECT_EQ(packet({0x12, 0, 0, 0, 36}), 36);
  EXPECT_EQ(data(5), (Bytes{0x05, 0x80, 0x05, 0x02, 31}));
  EXPECT_EQ(packet({0x12, 0, 0, 0, 5}), 5);
  EXPECT_EQ(packet({0x43, 0, 0, 0, 0, 0, 0, 0, 20}), 20);
  EXPECT_EQ(data(20), (Bytes{0, 18, 1, 1, 0, 0x14, 1,    0, 0, 0,
                             0, 0,  0, 0x14, 0xaa, 0, 0, 0, 0, 40}));
  EXPECT_EQ(packet({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12}), 12);
  EXPECT_EQ(data(12), (Bytes{0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 2, 40}));
  EXPECT_EQ(packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), 8);
  EXPECT_EQ(data(8), (Bytes{0, 6, 4, 0x10, 0, 2, 0, 0}));
  EXPECT_EQ(packet({0x46, 2, 0, 0, 0, 0, 0, 0, 8}), 8);
  EXPECT_EQ(data(8), (Bytes{0, 0, 0, 36, 0, 0, 0, 8})) << "a CD-ROM";
  EXPECT_EQ(packet({0x51, 0, 0, 0, 0, 0, 0, 0, 34}), 34);
  EXPECT_EQ(packet({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 28}), 28);
  EXPECT_EQ(data(2), (Bytes{0, 26}));
  EXPECT_EQ(packet({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}), 8);
}

TEST_F(AhciTest, AHostBusErrorStopsThePort) {
  const auto stops = [this](const char* why) {
    EXPECT_EQ(get(kPort + 0x10) & 1u << 29, 1u << 29) << why;
    set(kPort + 0x10, ~0u);
    set(kPort + 0x18, 1u << 4);
    set(kPort + 0x18, 1u << 4 | 1);
    EXPECT_EQ(packet({0x00}), 0) << why;
    set(kPort + 0x10, ~0u);
  };
  put_command(0, command_fis(0xa0), {0x28, 0, 0, 0, 0, 0, 0, 0, 1}, {{0xffff'0000'0000, 2048}});
  issue();
  stops("the data have no place");
  machine.memory.put(kList + 8, ~0ull, 8);
  issue();
  stops("the table is nowhere");
  put_command(0, command_fis(0xa0), {0x25}, {});
  machine.memory.put(kList, 5 | 0xffffull << 16, 4);
  machine.memory.put(kList + 8, 0x1ff80, 8);
  machine.memory.put(0x1ff80, 0xa08027, 4);
  machine.memory.put(0x1ffc0, 0x25, 1);
  issue();
  stops("the regions are nowhere");
  machine.write(kSlot, 0x04, 2, 0x0002);
  issue();
  EXPECT_EQ(get(kPort + 0x10) & 1u << 29, 1u << 29) << "not a bus master";
}

TEST_F(AhciTest, ResetsShowTheSignatureAnew) {
  set(kPort + 0x2c, 1);
  EXPECT_EQ(get(kPort + 0x28), 0u);
  EXPECT_EQ(get(kPort + 0x24), 0xffffffffu);
  set(kPort + 0x2c, 0);
  EXPECT_EQ(get(kPort + 0x28), 0x113u);
  EXPECT_EQ(get(kPort + 0x24), 0xeb140101u);
  EXPECT_EQ(get(kPort + 0x30), 1u << 26);
  EXPECT_EQ(get(kPort + 0x10) & 1u << 6, 1u << 6);
  set(kPort + 0x30, ~0u);
  EXPECT_EQ(get(kPort + 0x10) & 1u << 6, 0u);
  // A software reset, by two FISes to the control register.
  put_command(0, {0x27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, {}, {});
  issue();
  put_command(0, {0x27, 0}, {}, {});
  issue();
  EXPECT_EQ(get(kPort + 0x38), 0u);
  EXPECT_EQ(data(20, kReceived + 0x40)[0], 0x34);
  EXPECT_EQ(data(20, kReceived + 0x40)[6], 0xeb);
  // Of the whole controller.
  set(kBar + 0x04, 1);
  EXPECT_EQ(get(kBar + 0x04), 1u << 31);
  EXPECT_EQ(get(kPort + 0x18), 0u);
}

TEST_F(AhciTest, GoesOnFromASavedStateInTheMidstOfACommand) {
  put_command(0, command_fis(0xa0), {0x28, 0, 0, 0, 0, 7, 0, 0, 2}, {{kData, 4096}});
  set(kPort + 0x38, 1);
  machine.pass(10);
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::PciMachine other;
  add(other);
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  other.memory.bytes = machine.memory.bytes;
  other.pass(10'000'000);
  EXPECT_EQ(other.bus.read_memory(kPort + 0x38, 4), 0u);
  const auto first = other.memory.bytes.begin() + static_cast<std::ptrdiff_t>(kData);
  EXPECT_EQ(Bytes(first, first + 4096), on_disc(7, 2));
}

// Registers and memory at random: nothing is read or written outside, and nothing hangs.
TEST_F(AhciTest, BearsAGuestThatKnowsNothing) {
  uint64_t random = 1;
  const auto next = [&random](uint64_t bound) {
    random = random * 6364136223846793005 + 1442695040888963407;
    return (random >> 33) % bound;
  };
  const auto number = [&] { return next(3) == 0 ? next(1ull << 31) << 33 | next(1ull << 31) << 2 : next(0x10000); };
  uint64_t errors = 0, done = 0;
  for (unsigned i = 0; i < 30'000; ++i) {
    if (next(50) == 0) {
      machine.write(kSlot, 0x04, 2, 0x0006);
      start();
    }
    const unsigned size = 1u << next(4);
    if (next(3) == 0) machine.bus.write_memory(kPort + (next(0x80) & ~(size - 1)), size, number());
    if (next(20) == 0) machine.bus.write_memory(kBar + (next(0x40) & ~(size - 1)), size, number());
    const auto slot = static_cast<unsigned>(next(4));
    Bytes packet(12);
    for (uint8_t& byte : packet) byte = static_cast<uint8_t>(next(3) == 0 ? next(256) : next(4));
    constexpr uint8_t kOperations[] = {0x00, 0x03, 0x12, 0x25, 0x28, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbd};
    packet[0] = next(10) == 0 ? static_cast<uint8_t>(next(256)) : kOperations[next(std::size(kOperations))];
    std::vector<Region> regions;
    for (uint64_t count = next(4); count > 0; --count)
      regions.push_back({next(10) == 0 ? number() : 0x4000 + next(0x8000), static_cast<uint32_t>(1 + next(next(10) == 0 ? 1 << 22 : 4096))});
    constexpr uint8_t kCommands[] = {0xa0, 0xa0, 0xa0, 0xa0, 0xa1, 0xef, 0x08, 0xec};
    Bytes fis = command_fis(kCommands[next(std::size(kCommands))], static_cast<uint8_t>(next(5)));
    if (next(20) == 0) fis[next(4)] = static_cast<uint8_t>(next(256));
    put_command(slot, fis, packet, regions);
    if (next(20) == 0) machine.memory.put(kList + next(128), number(), 4);
    set(kPort + 0x38, 1u << slot);
    machine.pass(next(2) == 0 ? 10'000'000 : next(1000));
    ASSERT_GT(machine.bus.deadline(), machine.clock.cycles());
    for (uint64_t offset = 0; offset < 0x80; offset += 4) (void)get(kPort + offset);
    if ((get(kPort + 0x10) & 3u << 29) != 0) ++errors;
    if ((get(kPort + 0x38) >> slot & 1) == 0) ++done;
    machine.messages.clear();
  }
  EXPECT_GT(errors, 1000u);
  EXPECT_GT(done, 1000u);
}

TEST(CdDriveTest, NeedsABlock) {
  const test::DiskFile file(Bytes(512));
  EXPECT_THROW(CdDrive(std::make_unique<Disk>(DiskConfig{file.path})), DiskError);
}

}  // namespace
}  // namespace nestor::emu
