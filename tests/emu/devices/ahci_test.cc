// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <vector>

#include "emu/memory/little_endian.h"
#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/random_ahci_guest.h"

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

class AhciTest : public testing::Test, protected test::AhciDriver {
 protected:
  AhciTest() : AhciDriver(cd(disc().path)) { start(); }

  void issue(unsigned slots = 1) {
    set(kPort + 0x38, slots);
    machine.pass(200'000'000);
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

  static const test::DiskFile& disc() {
    static const test::DiskFile file(disc_content());
    return file;
  }

  const Bytes content_ = disc_content();
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
  machine.pass(CdDrive::kCommandCycles + CdDrive::kCyclesPerBlock);
  EXPECT_EQ(get(kPort + 0x38), 0x80000008u);
  machine.pass(CdDrive::kCommandCycles + CdDrive::kCyclesPerBlock);
  machine.pass(CdDrive::kCommandCycles + CdDrive::kCyclesPerBlock);
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
  EXPECT_EQ(data(20),
            (Bytes{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 40}));
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
  test::AhciDriver another(cd(disc().path));
  test::PciMachine& other = another.machine;
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  other.memory.bytes = machine.memory.bytes;
  other.pass(10'000'000);
  EXPECT_EQ(other.bus.read_memory(kPort + 0x38, 4), 0u);
  const auto first = other.memory.bytes.begin() + static_cast<std::ptrdiff_t>(kData);
  EXPECT_EQ(Bytes(first, first + 4096), on_disc(7, 2));
}

// Nothing is read or written outside, and nothing hangs.
TEST_F(AhciTest, BearsAGuestThatKnowsNothing) {
  test::RandomAhciGuest guest(1, disc().path);
  for (unsigned i = 0; i < 30'000; ++i) ASSERT_NO_THROW(guest.step()) << i;
  EXPECT_GT(guest.errors, 1000u);
  EXPECT_GT(guest.done, 1000u);
  EXPECT_GT(guest.disk_done, 1000u);
}

TEST(CdDriveTest, NeedsABlock) {
  const test::DiskFile file(Bytes(512));
  EXPECT_THROW(CdDrive(std::make_unique<Disk>(DiskConfig{file.path})), DiskError);
}

}  // namespace
}  // namespace nestor::emu
