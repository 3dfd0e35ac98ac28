// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/hard_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "emu/memory/little_endian.h"
#include "tests/emu/devices/ahci_driver.h"
#include "tests/emu/devices/disk_file.h"

namespace nestor::emu {
namespace {

using Bytes = std::vector<uint8_t>;

// 2100 sectors, each byte known by its place.
constexpr size_t kSector = 512, kSectors = 2100;

Bytes disk_content() {
  Bytes content(kSectors * kSector);
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<uint8_t>(i * 5 + (i >> 9) * 3 + (i >> 8));
  return content;
}

class Watcher final : public DiskWatcher {
 public:
  void disk_failed(const std::string& what) override { told.push_back(what); }
  std::vector<std::string> told;
};

struct Request {
  uint8_t code;
  uint64_t lba = 0;
  uint16_t count = 1, features = 0;
  uint8_t device = 0x40;

  Bytes fis() const {
    Bytes bytes = {0x27, 0x80, code, static_cast<uint8_t>(features)};
    for (const unsigned shift : {0u, 8u, 16u}) bytes.push_back(static_cast<uint8_t>(lba >> shift));
    bytes.push_back(device);
    for (const unsigned shift : {24u, 32u, 40u})
      bytes.push_back(static_cast<uint8_t>(lba >> shift));
    bytes.push_back(static_cast<uint8_t>(features >> 8));
    bytes.push_back(static_cast<uint8_t>(count));
    bytes.push_back(static_cast<uint8_t>(count >> 8));
    bytes.resize(20);
    return bytes;
  }
};

// Before the driver, which opens it.
struct FileOfDisk {
  test::DiskFile file_{disk_content()};
  Watcher watcher_;
};

class HardDiskTest : public testing::Test, protected FileOfDisk, protected test::AhciDriver {
 protected:
  static constexpr unsigned kDriven = 1;
  enum Register : uint64_t {
    kInterruptStatus = 0x10,
    kCommand = 0x18,
    kTaskFile = 0x20,
    kSignature = 0x24,
    kControl = 0x2c,
    kActive = 0x34,
    kIssue = 0x38,
  };
  static constexpr uint32_t kRegisters = 1, kPioSetup = 2, kSetBits = 8, kRegionDone = 1u << 5,
                            kOverflow = 1u << 24, kTaskFileError = 1u << 30;

  explicit HardDiskTest(bool writable = false)
      : AhciDriver(with_disk({}, kDriven, config(writable)), kDriven) {
    start();
  }
  DiskConfig config(bool writable = false) {
    return {.path = file_.path, .writable = writable, .watcher = &watcher_, .ahci = true};
  }

  uint32_t port_register(Register offset) { return get(port + offset); }
  void set_port(Register offset, uint64_t value) { set(port + offset, value); }
  // Returns PxTFD at its end.
  uint32_t run(const Request& request, const std::vector<Region>& regions = {{kData, 0x8000}},
               uint32_t flags = 0) {
    set_port(kInterruptStatus, ~0u);
    put_command(0, request.fis(), {}, regions);
    machine.memory.put(kList, machine.memory.get(kList, 4) | flags, 4);
    set_port(kIssue, 1);
    machine.pass(200'000'000);
    return port_register(kTaskFile);
  }
  void restart() {
    set_port(kInterruptStatus, ~0u);
    set_port(kCommand, 1u << 4);
    set_port(kCommand, 1u << 4 | 1);
  }
  // The address in the registers that were received last.
  uint64_t received_lba() {
    return machine.memory.get(kReceived + 0x44, 3) | machine.memory.get(kReceived + 0x48, 3) << 24;
  }
  Bytes data(size_t size, uint64_t at = kData) const {
    const auto first = machine.memory.bytes.begin() + static_cast<std::ptrdiff_t>(at);
    return {first, first + static_cast<std::ptrdiff_t>(size)};
  }
  void put(const Bytes& bytes, uint64_t at = kData) {
    std::ranges::copy(bytes, machine.memory.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  static Bytes on_disk(size_t sector, size_t count = 1) {
    const Bytes content = disk_content();
    const auto first = content.begin() + static_cast<std::ptrdiff_t>(sector * kSector);
    return {first, first + static_cast<std::ptrdiff_t>(count * kSector)};
  }
  uint16_t word(size_t number) {
    return static_cast<uint16_t>(machine.memory.get(kData + 2 * number, 2));
  }
  void identify() { EXPECT_EQ(run({0xec}), 0x50u); }
};

TEST_F(HardDiskTest, TheControllerSaysWhatIsThere) {
  EXPECT_EQ(get(kBar + 0x00), 0xc1149f01u) << "queues, and two ports at most";
  EXPECT_EQ(get(kBar + 0x0c), 2u);
  EXPECT_EQ(port_register(kSignature), 0x00000101u);
  EXPECT_EQ(port_register(kTaskFile), 0x0150u);
  EXPECT_EQ(get(port + 0x28), 0x113u);
  EXPECT_EQ(data(20, kReceived + 0x40),
            (Bytes{0x34, 0x40, 0x50, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}));
  for (uint64_t offset = 0; offset < 0x80; offset += 4) {
    set(kPort + offset, ~0u);
    EXPECT_EQ(get(kPort + offset), 0u) << "no port 0, " << offset;
    EXPECT_EQ(get(kBar + 0x400 + offset), 0u) << "no port 6, " << offset;
  }
}

TEST_F(HardDiskTest, IdentifiesItself) {
  identify();
  EXPECT_EQ(port_register(kInterruptStatus), kPioSetup);
  EXPECT_EQ(machine.memory.bytes[kReceived + 0x20], 0x5f);
  EXPECT_EQ(machine.memory.get(kReceived + 0x30, 2), kSector);
  const auto text = [this](size_t first, size_t words) {
    std::string out;
    for (size_t i = first; i < first + words; ++i)
      out += {static_cast<char>(word(i) >> 8), static_cast<char>(word(i))};
    return out;
  };
  EXPECT_EQ(word(0), 0x0040);
  EXPECT_EQ(word(1) * word(3) * word(6), 2 * 16 * 63);
  EXPECT_EQ(text(10, 10), "a-serial-number     ");
  EXPECT_EQ(text(27, 8), "NESTOR HARD DISK");
  EXPECT_EQ(word(60), kSectors);
  EXPECT_EQ(word(100), kSectors);
  EXPECT_EQ(word(75), 31);
  EXPECT_EQ(word(88), 0x203f) << "Ultra DMA 5";
  EXPECT_EQ(word(82) & 1, 0) << "no SMART";
  EXPECT_EQ(word(169), 0) << "no TRIM";
  const Bytes all = data(512);
  EXPECT_EQ(std::accumulate(all.begin(), all.end(), 0u) % 256, 0u);
}

TEST_F(HardDiskTest, WhatIsNotOfferedIsAborted) {
  for (const unsigned code :
       {0x00, 0x06, 0x08, 0x10, 0x23, 0x26, 0x27, 0x2a, 0x3f, 0x45, 0x47, 0x4a, 0x57, 0x63,
        0x70, 0x91, 0x92, 0xa0, 0xa1, 0xb0, 0xb1, 0xc7, 0xe4, 0xe8, 0xf1, 0xf5, 0xf8, 0xf9}) {
    EXPECT_EQ(run({static_cast<uint8_t>(code)}), 0x0451u) << code;
    EXPECT_EQ(port_register(kInterruptStatus), kRegisters | kTaskFileError) << code;
    EXPECT_EQ(port_register(kIssue), 1u);
    restart();
  }
  EXPECT_EQ(run({.code = 0xc8, .device = 0}), 0x0451u) << "cylinder, head and sector";
}

TEST_F(HardDiskTest, ReadsByEachCommand) {
  EXPECT_EQ(run({.code = 0xc6, .count = 8}), 0x50u);
  for (const auto& [code, causes] : {std::pair{0x20, kPioSetup},
                                     {0x21, kPioSetup},
                                     {0x24, kPioSetup},
                                     {0x29, kPioSetup},
                                     {0xc4, kPioSetup},
                                     {0x25, kRegisters},
                                     {0xc8, kRegisters},
                                     {0xc9, kRegisters}}) {
    put(Bytes(0x4000));
    EXPECT_EQ(run({.code = static_cast<uint8_t>(code), .lba = 1000, .count = 13},
                  {{kData, 1000}, {0x9000, 4096}, {0xb000, 2000}}),
              0x50u)
        << code;
    EXPECT_EQ(port_register(kInterruptStatus), causes) << code;
    EXPECT_EQ(port_register(kIssue), 0u);
    EXPECT_EQ(machine.memory.get(kList + 4, 4), 13 * kSector);
    Bytes all = data(1000);
    for (const auto& [at, size] : {std::pair(0x9000u, 4096u), {0xb000u, 1560u}}) {
      const Bytes more = data(size, at);
      all.insert(all.end(), more.begin(), more.end());
    }
    EXPECT_EQ(all, on_disk(1000, 13)) << code;
  }
  EXPECT_EQ(run({.code = 0xc4, .count = 13}), 0x50u);
  EXPECT_EQ(machine.memory.get(kReceived + 0x30, 2), 8 * kSector) << "8 sectors at a time";
}

TEST_F(HardDiskTest, AnAddressHas28Or48Bits) {
  const auto refused = [this](const Request& request, uint64_t lba) {
    EXPECT_EQ(run(request), 0x1051u) << request.lba;
    EXPECT_EQ(received_lba(), lba);
    restart();
  };
  EXPECT_EQ(run({.code = 0xc8, .lba = kSectors - 1}), 0x50u);
  EXPECT_EQ(run({.code = 0xc8, .lba = 0xff0000000004}), 0x50u)
      << "the upper half counts for nothing";
  EXPECT_EQ(data(kSector), on_disk(4));
  refused({.code = 0xc8, .lba = kSectors}, kSectors);
  refused({.code = 0xc8, .lba = kSectors - 1, .count = 2}, kSectors);
  refused({.code = 0xc8, .lba = 4, .device = 0x41}, 0x1000004);
  refused({.code = 0x25, .lba = 0x010000000004}, 0x010000000004);
  refused({.code = 0x25, .lba = ~0ull >> 16}, ~0ull >> 16);
  refused({.code = 0x25, .count = 0}, kSectors);
  refused({.code = 0x40, .lba = kSectors - 255, .count = 0}, kSectors);
  EXPECT_EQ(run({.code = 0x40, .lba = kSectors - 256, .count = 0}), 0x50u) << "0: 256 sectors";
  EXPECT_EQ(run({.code = 0xc8, .lba = kSectors - 256, .count = 0}, {{0x1f000, 0x400000}}), 0xd0u)
      << "it does not end";
  EXPECT_EQ(port_register(kInterruptStatus), 1u << 29) << "there is no such memory";
}

TEST_F(HardDiskTest, WritesByEachCommand) {
  EXPECT_EQ(run({.code = 0xc6, .count = 16}), 0x50u);
  uint8_t fill = 0x11;
  for (const unsigned code : {0x30, 0x31, 0x34, 0x35, 0x39, 0x3d, 0xc5, 0xca, 0xcb, 0xce}) {
    const Bytes written(3 * kSector, ++fill);
    put(written);
    EXPECT_EQ(run({.code = static_cast<uint8_t>(code), .lba = 70, .count = 3},
                  {{kData, 600}, {kData + 600, 936}}, 1u << 6),
              0x50u)
        << code;
    EXPECT_EQ(port_register(kInterruptStatus), kRegisters) << code;
    EXPECT_EQ(machine.memory.get(kList + 4, 4), 3 * kSector);
    put(Bytes(0x4000));
    EXPECT_EQ(run({.code = 0xc8, .lba = 69, .count = 5}), 0x50u);
    Bytes expected = on_disk(69);
    expected.insert(expected.end(), written.begin(), written.end());
    const Bytes behind = on_disk(73);
    expected.insert(expected.end(), behind.begin(), behind.end());
    EXPECT_EQ(data(5 * kSector), expected) << code;
  }
  EXPECT_EQ(file_.content(), disk_content()) << "the file stays as it is";
}

class WritableHardDiskTest : public HardDiskTest {
 protected:
  WritableHardDiskTest() : HardDiskTest(true) {}
};

TEST_F(WritableHardDiskTest, WritesToTheFile) {
  const Bytes written(kSector, 0x77);
  put(written);
  EXPECT_EQ(run({.code = 0x35, .lba = 5}), 0x50u);
  EXPECT_EQ(run({.code = 0xef, .features = 0x82}), 0x50u) << "no write cache";
  EXPECT_EQ(run({.code = 0xca, .lba = 6}), 0x50u);
  for (const uint8_t flush : {uint8_t{0xe7}, uint8_t{0xea}}) EXPECT_EQ(run({flush}), 0x50u);
  Bytes content = disk_content();
  std::ranges::fill_n(content.begin() + 5 * kSector, 2 * kSector, uint8_t{0x77});
  EXPECT_EQ(file_.content(), content);
  EXPECT_TRUE(watcher_.told.empty());
}

TEST_F(HardDiskTest, MemoryMayBeTooLittleOrTooMuch) {
  EXPECT_EQ(run({.code = 0x25, .lba = 9, .count = 4}, {{kData, 700}}), 0x50u);
  EXPECT_EQ(port_register(kInterruptStatus), kRegisters | kOverflow);
  EXPECT_EQ(machine.memory.get(kList + 4, 4), 700u);
  EXPECT_EQ(data(700), [] {
    Bytes first = on_disk(9, 2);
    first.resize(700);
    return first;
  }());
  // A region that asks for an interrupt when it is full.
  put_command(0, Request{.code = 0x25, .lba = 9, .count = 2}.fis(), {},
              {{kData, 512}, {kData + 512, 512}});
  machine.memory.put(kTable + 0x8c, 511 | 1u << 31, 4);
  set_port(kInterruptStatus, ~0u);
  set_port(kIssue, 1);
  machine.pass(10'000'000);
  EXPECT_EQ(port_register(kInterruptStatus), kRegisters | kRegionDone);
  // What is to be written must be there.
  EXPECT_EQ(run({.code = 0x35, .lba = 20, .count = 4}, {{kData, 1024}}), 0x0451u);
  EXPECT_EQ(received_lba(), 22u);
  restart();
  EXPECT_EQ(run({.code = 0x35, .lba = 20, .count = 1}, {}), 0x0451u);
}

TEST_F(HardDiskTest, WhatTheHostCannotReadIsUncorrectable) {
  std::filesystem::resize_file(file_.path, 64 * 4096);
  EXPECT_EQ(run({.code = 0x25, .lba = 510, .count = 8}), 0x4051u);
  EXPECT_EQ(received_lba(), 510u) << "of the piece that failed";
  EXPECT_EQ(watcher_.told.size(), 1u);
  EXPECT_NE(watcher_.told.at(0).find("the file was shortened"), std::string::npos);
  restart();
  EXPECT_EQ(run({.code = 0x42, .lba = 505, .count = 20}), 0x4051u) << "READ VERIFY";
  EXPECT_EQ(received_lba(), 505u);
  restart();
  EXPECT_EQ(run({.code = 0x35, .lba = 600}), 0x0451u) << "a write to a part of a block";
}

TEST_F(HardDiskTest, HasFeaturesThatAResetTakesBack) {
  EXPECT_EQ(run({.code = 0xef, .count = 0x22, .features = 3}), 0x50u) << "multiword DMA 2";
  EXPECT_EQ(run({.code = 0xef, .features = 0x82}), 0x50u);
  EXPECT_EQ(run({.code = 0xef, .features = 0x55}), 0x50u);
  EXPECT_EQ(run({.code = 0xc6, .count = 4}), 0x50u);
  identify();
  EXPECT_EQ(word(63), 0x0407);
  EXPECT_EQ(word(88), 0x003f);
  EXPECT_EQ(word(85) & 0x60, 0);
  EXPECT_EQ(word(59), 0x0104);
  for (const Request& bad : {Request{.code = 0xef, .count = 0x46, .features = 3},
                             {.code = 0xef, .features = 5},
                             {.code = 0xc6, .count = 3},
                             {.code = 0xc6, .count = 32}}) {
    EXPECT_EQ(run(bad), 0x0451u) << bad.count;
    restart();
  }
  EXPECT_EQ(run({0xe0}), 0x50u);
  EXPECT_EQ(run({0xe5}), 0x50u);
  EXPECT_EQ(machine.memory.get(kReceived + 0x4c, 2), 0x00u) << "in standby";
  EXPECT_EQ(run({0xc8}), 0x50u);
  EXPECT_EQ(run({0xe5}), 0x50u);
  EXPECT_EQ(machine.memory.get(kReceived + 0x4c, 2), 0xffu);
  // A software reset, by two FISes to the control register.
  put_command(0, {0x27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, {}, {});
  set_port(kIssue, 1), machine.pass(10'000'000);
  put_command(0, {0x27, 0}, {}, {});
  set_port(kIssue, 1), machine.pass(10'000'000);
  EXPECT_EQ(port_register(kTaskFile), 0x0150u);
  identify();
  EXPECT_EQ(word(63), 0x0007);
  EXPECT_EQ(word(85) & 0x60, 0x60);
  EXPECT_EQ(word(59), 0);
  EXPECT_EQ(run({.code = 0xc4}), 0x0451u) << "READ MULTIPLE without SET MULTIPLE MODE";
  restart();
  EXPECT_EQ(run({0x90}), 0x0150u) << "EXECUTE DEVICE DIAGNOSTIC";
}

TEST_F(HardDiskTest, IsBusyUntilACommandEndsAndNotInAReset) {
  put_command(0, Request{.code = 0x25, .lba = 1, .count = 16}.fis(), {}, {{kData, 0x8000}});
  set_port(kIssue, 1);
  EXPECT_EQ(port_register(kTaskFile) & 0x80, 0x80u);
  machine.pass(HardDisk::kCommandCycles + 2 * HardDisk::kCyclesPerBlock - 1);
  EXPECT_EQ(port_register(kIssue), 1u);
  machine.pass(1);
  EXPECT_EQ(port_register(kIssue), 0u);
  EXPECT_EQ(port_register(kTaskFile), 0x50u);
  // COMRESET in the midst of one.
  set_port(kIssue, 1);
  set_port(kControl, 1);
  machine.pass(10'000'000);
  EXPECT_EQ(port_register(kTaskFile), 0x7fu);
  EXPECT_EQ(port_register(kSignature), 0xffffffffu);
  set_port(kCommand, 1u << 4);
  set_port(kControl, 0);
  EXPECT_EQ(port_register(kTaskFile), 0x0150u);
  EXPECT_EQ(port_register(kSignature), 0x00000101u);
  restart();
  identify();
}

Request queued(uint8_t code, uint64_t lba, unsigned tag, uint16_t count = 1) {
  return {.code = code, .lba = lba, .count = static_cast<uint16_t>(tag << 3), .features = count};
}

TEST_F(HardDiskTest, QueuedCommandsTakeTurns) {
  const auto put_queued = [this](unsigned slot) {
    put_command(slot, queued(0x60, slot * 10, slot).fis(), {}, {{kData + slot * kSector, 512}});
  };
  for (const unsigned slot : {2u, 5u, 31u}) put_queued(slot);
  set_port(kActive, 1u << 5 | 1u << 2 | 1u << 31);
  set_port(kIssue, 1u << 5 | 1u << 2 | 1u << 31);
  EXPECT_EQ(port_register(kTaskFile) & 0x80, 0u) << "more may be issued";
  machine.pass(HardDisk::kCommandCycles);
  EXPECT_EQ(port_register(kActive), 0x80000020u);
  EXPECT_EQ(port_register(kIssue), 0x80000020u);
  EXPECT_EQ(port_register(kInterruptStatus), kSetBits);
  EXPECT_EQ(data(8, kReceived + 0x58), (Bytes{0xa1, 0x40, 0x50, 0, 4, 0, 0, 0}));
  // One that comes later in a lower slot waits for those that are there.
  put_queued(2);
  set_port(kActive, 1u << 2);
  set_port(kIssue, 1u << 2);
  machine.pass(HardDisk::kCommandCycles);
  EXPECT_EQ(port_register(kActive), 0x80000004u);
  machine.pass(HardDisk::kCommandCycles);
  EXPECT_EQ(port_register(kActive), 0x00000004u);
  machine.pass(HardDisk::kCommandCycles);
  EXPECT_EQ(port_register(kActive), 0u);
  for (const unsigned slot : {2u, 5u, 31u})
    EXPECT_EQ(data(kSector, kData + slot * kSector), on_disk(slot * 10)) << slot;
}

TEST_F(HardDiskTest, QueuedCommandsWrite) {
  put(Bytes(2 * kSector, 0x99));
  set_port(kActive, 1);
  Request request = queued(0x61, 40, 0, 2);
  request.device |= 0x80;  // FUA
  EXPECT_EQ(run(request), 0x50u);
  EXPECT_EQ(port_register(kActive), 0u);
  put(Bytes(0x1000));
  EXPECT_EQ(run({.code = 0x25, .lba = 40, .count = 2}), 0x50u);
  EXPECT_EQ(data(2 * kSector), Bytes(2 * kSector, 0x99));
}

TEST_F(HardDiskTest, ALogTellsWhichQueuedCommandHasFailed) {
  EXPECT_EQ(run({.code = 0x2f, .lba = 0x10}), 0x50u);
  EXPECT_EQ(data(1)[0], 0x80) << "none";
  put_command(0, queued(0x60, 1, 7).fis(), {}, {{kData, 512}});
  put_command(1, queued(0x60, 0x123456789a, 9).fis(), {}, {{kData, 512}});
  set_port(kInterruptStatus, ~0u);
  set_port(kActive, 1u << 7 | 1u << 9);
  set_port(kIssue, 2);
  set_port(kIssue, 1);
  machine.pass(10'000'000);
  EXPECT_EQ(port_register(kTaskFile), 0x1051u);
  EXPECT_EQ(port_register(kInterruptStatus), kSetBits | kTaskFileError);
  EXPECT_EQ(port_register(kActive), 1u << 7 | 1u << 9) << "both are to be repeated";
  EXPECT_EQ(data(8, kReceived + 0x58), (Bytes{0xa1, 0x40, 0x51, 0x10, 0, 0, 0, 0}));
  restart();
  EXPECT_EQ(port_register(kActive), 0u);
  EXPECT_EQ(run({.code = 0x2f, .lba = 0x10}), 0x50u);
  const Bytes log = data(512);
  EXPECT_EQ(Bytes(log.begin(), log.begin() + 11),
            (Bytes{9, 0, 0x51, 0x10, 0x9a, 0x78, 0x56, 0x40, 0x34, 0x12, 0}));
  EXPECT_EQ(std::accumulate(log.begin(), log.end(), 0u) % 256, 0u);
  EXPECT_EQ(run({.code = 0x2f, .lba = 0x10}), 0x50u);
  EXPECT_EQ(data(1)[0], 0x80) << "it was told";
  EXPECT_EQ(run({.code = 0x2f, .lba = 0}), 0x50u);
  EXPECT_EQ(word(0), 1);
  EXPECT_EQ(word(16), 1);
  for (const Request& bad : {Request{.code = 0x2f, .lba = 0x11},
                             {.code = 0x2f, .lba = 0x110},
                             {.code = 0x2f, .lba = 0x10, .count = 2}}) {
    EXPECT_EQ(run(bad), 0x0451u) << bad.lba;
    restart();
  }
}

TEST_F(HardDiskTest, GoesOnFromASavedStateInTheMidstOfAQueue) {
  EXPECT_EQ(run({.code = 0xc6, .count = 4}), 0x50u);
  put(Bytes(kSector, 0x42), 0x9000);
  put_command(3, queued(0x61, 7, 3).fis(), {}, {{0x9000, 512}});
  put_command(4, queued(0x60, 7, 4).fis(), {}, {{kData, 512}});
  set_port(kActive, 3u << 3);
  set_port(kIssue, 3u << 3);
  machine.pass(10);
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::AhciDriver another(with_disk({}, kDriven, config()), kDriven);
  test::PciMachine& other = another.machine;
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  other.memory.bytes = machine.memory.bytes;
  other.pass(HardDisk::kCommandCycles), other.pass(HardDisk::kCommandCycles);
  EXPECT_EQ(another.get(port + kActive), 0u);
  const auto first = other.memory.bytes.begin() + static_cast<std::ptrdiff_t>(kData);
  EXPECT_EQ(Bytes(first, first + kSector), Bytes(kSector, 0x42));
  EXPECT_EQ(saved_bytes([&](Archive& archive) { another.machine.serialize(archive); }).size(),
            bytes.size() + 4096 + 8)
      << "with a block that was written";
}

// A CD drive and a disk, each at its port.
TEST_F(HardDiskTest, PortsInterruptOnTheirOwn) {
  test::AhciDriver both(with_disk(cd(file_.path), 5, config()), 5);
  both.start();
  EXPECT_EQ(both.get(kBar + 0x00), 0xc1149f05u);
  EXPECT_EQ(both.get(kBar + 0x0c), 0x21u);
  both.machine.write(kSlot, both.machine.capability(kSlot, 5) + 4, 4, 0xfee00000);
  both.machine.write(kSlot, both.machine.capability(kSlot, 5) + 2, 2, 1);
  const uint64_t disk = both.port;
  both.port = kPort, both.start();
  both.put_command(0, command_fis(0xa1), {}, {{kData, 512}});
  both.set(kPort + 0x38, 1);
  both.set(disk + 0x38, 1);
  both.machine.pass(10'000'000);
  EXPECT_EQ(both.get(kBar + 0x08), 0x21u);
  EXPECT_EQ(both.machine.messages.size(), 1u);
  // The one that was not served gets a message of its own.
  both.set(kPort + 0x10, ~0u);
  both.set(kBar + 0x08, 1);
  EXPECT_EQ(both.get(kBar + 0x08), 0x20u);
  EXPECT_EQ(both.machine.messages.size(), 2u);
  both.set(disk + 0x10, ~0u);
  both.set(kBar + 0x08, 0x20);
  EXPECT_EQ(both.get(kBar + 0x08), 0u);
  EXPECT_EQ(both.machine.messages.size(), 2u);
}

}  // namespace
}  // namespace nestor::emu
