// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "emu/devices/virtio/block.h"
#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/virtio_driver.h"

namespace nestor::emu {
namespace {

using test::DiskFile;
using test::VirtioDriver;
using testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

// No two sectors are alike.
Bytes pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i / 512 * 7 + i % 251);
  return bytes;
}

Bytes part(const Bytes& whole, size_t first, size_t size) {
  const auto at = whole.begin() + static_cast<std::ptrdiff_t>(first);
  return {at, at + static_cast<std::ptrdiff_t>(size)};
}

// --- the content of a disk

TEST(DiskTest, RefusesWhatCannotBeADisk) {
  const auto complaint = [](const DiskConfig& config) -> std::string {
    try {
      const Disk disk(config);
      return "none";
    } catch (const DiskError& error) {
      return error.what();
    }
  };
  const DiskFile odd(Bytes(513)), empty({}), good(Bytes(1024));
  EXPECT_THAT(complaint({odd.path}), HasSubstr("513 bytes, is no multiple of 512"));
  EXPECT_THAT(complaint({empty.path}), HasSubstr("it is empty"));
  EXPECT_THAT(complaint({"/nowhere/disk"}), HasSubstr("'/nowhere/disk'"));
  EXPECT_THAT(complaint({testing::TempDir()}), HasSubstr("directory"));
  EXPECT_THAT(complaint({good.path, false, 512}), HasSubstr("it has 1024 bytes"));
  EXPECT_EQ(complaint({good.path, false, 1024}), "none");
}

TEST(DiskTest, WhatIsWrittenStaysInMemory) {
  const Bytes before = pattern(3 * 4096 + 512);  // the last block is short
  const DiskFile file(before);
  Disk disk({file.path});
  EXPECT_EQ(disk.bytes(), before.size());
  Bytes expected = before;
  const auto write = [&](size_t offset, size_t size, uint8_t value) {
    ASSERT_TRUE(disk.write(offset, Bytes(size, value)));
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(offset), size, value);
  };
  write(512, 512, 0xaa);
  write(4096 - 512, 4096 + 1024, 0xbb);
  write(3 * 4096, 512, 0xcc);
  Bytes all(before.size());
  ASSERT_TRUE(disk.read(0, all));
  EXPECT_EQ(all, expected);
  EXPECT_TRUE(disk.flush());
  EXPECT_EQ(file.content(), before);
}

TEST(DiskTest, AWritableFileIsWritten) {
  Bytes expected = pattern(8192);
  const DiskFile file(expected);
  Disk disk({file.path, true});
  ASSERT_TRUE(disk.write(4096 - 512, Bytes(1024, 0xaa)));
  std::fill_n(expected.begin() + 4096 - 512, 1024, uint8_t{0xaa});
  EXPECT_TRUE(disk.flush());
  EXPECT_EQ(file.content(), expected);
  Bytes all(expected.size());
  ASSERT_TRUE(disk.read(0, all));
  EXPECT_EQ(all, expected);
}

class Failures final : public DiskWatcher {
 public:
  void disk_failed(const std::string& what) override { told.push_back(what); }
  std::vector<std::string> told;
};

TEST(DiskTest, SaysWhenTheHostRefuses) {
  const DiskFile file(Bytes(16384));
  Failures failures;
  Disk disk({file.path, true, 0, &failures});
  Bytes bytes(4096, 1);
  EXPECT_TRUE(disk.write(0, bytes));
  EXPECT_THAT(failures.told, testing::IsEmpty());
  // As a file system that is full.
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const bool written = disk.write(8192, bytes);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(written);
  EXPECT_THAT(failures.told,
              testing::ElementsAre("cannot write to the disk '" + file.path + "': File too large"));
  failures.told.clear();
  std::filesystem::resize_file(file.path, 4096);
  EXPECT_TRUE(disk.read(0, bytes));
  EXPECT_FALSE(disk.read(4096, bytes));
  EXPECT_THAT(failures.told, testing::ElementsAre("cannot read the disk '" + file.path +
                                                  "': the file was shortened"));
}

TEST(DiskTest, AFileThatIsWrittenHasOneUser) {
  const DiskFile file(Bytes(1024));
  {
    const Disk reader({file.path}), other({file.path});
    EXPECT_THROW(Disk({file.path, true}), DiskError);
  }
  const Disk writer({file.path, true});
  EXPECT_THROW(Disk({file.path, true}), DiskError);
  EXPECT_THROW(Disk(DiskConfig{file.path}), DiskError);
}

TEST(DiskTest, GoesOnFromItsSavedState) {
  const Bytes before = pattern(3 * 4096);
  const DiskFile file(before);
  Disk disk({file.path}), other({file.path});
  ASSERT_TRUE(disk.write(8192, Bytes(512, 0xaa)));
  ASSERT_TRUE(other.write(0, Bytes(512, 0xbb)));
  const auto bytes = saved_bytes([&](Archive& archive) { disk.serialize(archive); });
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  Bytes all(before.size());
  ASSERT_TRUE(other.read(0, all));
  Bytes expected = before;
  std::fill_n(expected.begin() + 8192, 512, uint8_t{0xaa});
  EXPECT_EQ(all, expected) << "nothing of its own is left";
  const DiskFile small(Bytes(4096));
  Disk smaller({small.path});
  EXPECT_FALSE(load_bytes(bytes, [&](Archive& archive) { smaller.serialize(archive); }));
}

TEST(DiskTest, RefusesStatesThatCannotBe) {
  const DiskFile file(pattern(3 * 4096));
  const auto loads = [&](bool writable, const std::vector<uint64_t>& numbers) {
    const Bytes bytes = saved_bytes([&](Archive& archive) {
      uint64_t count = numbers.size();
      archive(count);
      for (uint64_t number : numbers) {
        archive(number);
        Bytes block(4096);
        archive.bytes(block);
      }
    });
    Disk disk({file.path, writable});
    return load_bytes(bytes, [&](Archive& archive) { disk.serialize(archive); });
  };
  EXPECT_TRUE(loads(false, {0, 1, 2}));
  EXPECT_FALSE(loads(false, {3})) << "behind the end";
  EXPECT_FALSE(loads(false, {1, 0}));
  EXPECT_FALSE(loads(false, {1, 1}));
  EXPECT_TRUE(loads(true, {}));
  EXPECT_FALSE(loads(true, {0})) << "what is written is in the file";
}

// --- the device

class VirtioBlockTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 3;
  static constexpr uint64_t kRequest = 0x7000, kData = 0x8000, kStatusByte = 0x7800;
  static constexpr uint32_t kIn = 0, kOut = 1, kFlush = 4, kGetId = 8;

  static test::PciMachine& add(test::PciMachine& to, const std::string& path) {
    to.host.add(kSlot,
                std::make_unique<VirtioBlock>(to.place(kSlot, "virtio-blk 0"),
                                              std::make_unique<Disk>(DiskConfig{path}), "an id"));
    return to;
  }
  VirtioBlockTest() { driver.start(); }
  void prepare(uint32_t type, uint64_t sector, uint32_t size) {
    machine.memory.put(kRequest, type, 8);
    machine.memory.put(kRequest + 8, sector, 8);
    machine.memory.put(kStatusByte, 0xee, 1);
    std::vector<VirtioDriver::Buffer> buffers = {{kRequest, 16, false}};
    if (size != 0) buffers.push_back({kData, size, type != kOut});
    buffers.push_back({kStatusByte, 1, true});
    driver.request(0, buffers);
    driver.notify();
  }
  // The status of the request.
  uint64_t execute(uint32_t type, uint64_t sector, uint32_t size) {
    prepare(type, sector, size);
    driver.run();
    return machine.memory.get(kStatusByte, 1);
  }
  Bytes data(size_t size) { return part(machine.memory.bytes, kData, size); }

  const Bytes content = pattern(16 * 4096);
  const DiskFile file{content};
  test::PciMachine machine;
  VirtioDriver driver{add(machine, file.path), kSlot};
};

TEST_F(VirtioBlockTest, SaysWhatItIs) {
  EXPECT_EQ(machine.read(kSlot, 0, 4), 0x10421af4u);
  EXPECT_EQ(machine.read(kSlot, 8, 4), 0x01000001u);
  EXPECT_EQ(driver.configuration(0, 8), 128u);
  EXPECT_EQ(driver.configuration(12, 4), 254u);
  EXPECT_EQ(driver.configuration(20, 4), 512u);
  EXPECT_EQ(driver.configuration(24, 4), 0u) << "behind it";
  EXPECT_EQ(driver.configuration(0xff8, 8), 0u);
  driver.set(VirtioDriver::kDeviceFeatureSelect, 4, 0);
  EXPECT_EQ(driver.get(VirtioDriver::kDeviceFeature, 4), 0x30000244u);
}

TEST_F(VirtioBlockTest, Reads) {
  EXPECT_EQ(execute(kIn, 3, 1024), 0u);
  EXPECT_EQ(data(1024), part(content, 3 * 512, 1024));
  EXPECT_EQ(driver.used_length(0), 1025u);
  EXPECT_EQ(execute(kIn, 0, 16 * 4096), 0u);
  EXPECT_EQ(data(16 * 4096), content);
  EXPECT_EQ(execute(kIn, 127, 512), 0u);
  EXPECT_EQ(execute(kIn, 128, 0), 0u);
}

TEST_F(VirtioBlockTest, WritesAreReadBackAndTheFileStaysAsItIs) {
  std::fill_n(machine.memory.bytes.begin() + kData, 4096, uint8_t{0x5a});
  EXPECT_EQ(execute(kOut, 5, 4096), 0u);
  EXPECT_EQ(driver.used_length(0), 1u);
  EXPECT_EQ(execute(kFlush, 0, 0), 0u);
  EXPECT_EQ(execute(kIn, 4, 5120), 0u);
  Bytes expected = part(content, 4 * 512, 5120);
  std::fill_n(expected.begin() + 512, 4096, uint8_t{0x5a});
  EXPECT_EQ(data(5120), expected);
  EXPECT_EQ(file.content(), content);
}

TEST_F(VirtioBlockTest, HasAnIdentity) {
  EXPECT_EQ(execute(kGetId, 0, 20), 0u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&machine.memory.bytes[kData])), "an id");
  EXPECT_EQ(driver.used_length(0), 21u);
  EXPECT_EQ(execute(kGetId, 0, 2), 0u) << "as far as there is room";
}

TEST_F(VirtioBlockTest, ErrorsAreInTheStatus) {
  EXPECT_EQ(execute(kIn, 127, 1024), 1u);
  EXPECT_EQ(execute(kIn, 129, 512), 1u);
  EXPECT_EQ(execute(kOut, ~0ull, 512), 1u);
  EXPECT_EQ(execute(kIn, 1ull << 55, 512), 1u) << "times 512 it would be 0";
  EXPECT_EQ(execute(kIn, 0, 100), 1u) << "no whole sectors";
  EXPECT_EQ(execute(kIn | 0x100, 0, 512), 2u) << "no such request";
  EXPECT_EQ(driver.status(), 0xf);
  EXPECT_EQ(execute(kIn, 0, 512), 0u);
}

TEST_F(VirtioBlockTest, BuffersMayBeCutAnywhere) {
  machine.memory.put(kRequest, kIn, 8);
  machine.memory.put(kRequest + 8, 1, 8);
  driver.request(0, {{kRequest, 5, false},
                     {kRequest + 5, 11, false},
                     {kData, 500, true},
                     {0, 0, true},
                     {kData + 500, 13, true}});
  driver.notify();
  driver.run();
  EXPECT_EQ(data(512), part(content, 512, 512));
  EXPECT_EQ(machine.memory.get(kData + 512, 1), 0u);
  EXPECT_EQ(driver.used_length(0), 513u);
}

TEST_F(VirtioBlockTest, WhatIsNoRequestNeedsAReset) {
  driver.request(0, {{kRequest, 15, false}, {kStatusByte, 1, true}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.status(), 0xf | VirtioDriver::kNeedsReset);
  driver.start();
  driver.request(0, {{kRequest, 16, false}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.status(), 0xf | VirtioDriver::kNeedsReset);
}

TEST_F(VirtioBlockTest, RequestsTakeTheirTimeOneAfterAnother) {
  const uint64_t start = machine.clock.cycles();
  const auto cycles = [](uint64_t blocks) {
    return VirtioBlock::kRequestCycles + blocks * VirtioBlock::kCyclesPerBlock;
  };
  prepare(kIn, 0, 8192);
  machine.memory.put(kRequest + 0x100, kFlush, 8);
  driver.request(4, {{kRequest + 0x100, 16, false}, {kStatusByte, 1, true}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline(), start + cycles(2));
  machine.pass(cycles(2));
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(machine.bus.deadline(), start + cycles(2) + cycles(0));
  machine.pass(cycles(0));
  EXPECT_EQ(driver.used(), 2);
}

TEST_F(VirtioBlockTest, GoesOnFromItsSavedStateInTheMiddleOfARequest) {
  std::fill_n(machine.memory.bytes.begin() + kData, 512, uint8_t{0x5a});
  EXPECT_EQ(execute(kOut, 9, 512), 0u);
  prepare(kIn, 8, 1024);
  machine.pass(1);
  const auto bytes = saved_bytes([&](Archive& archive) { machine.serialize(archive); });
  test::PciMachine other;
  add(other, file.path);
  other.memory.bytes = machine.memory.bytes;
  ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }));
  EXPECT_EQ(saved_bytes([&](Archive& archive) { other.serialize(archive); }), bytes);
  driver.run();
  other.pass(VirtioBlock::kRequestCycles);
  EXPECT_EQ(other.memory.bytes, machine.memory.bytes);
  EXPECT_EQ(other.memory.get(kData + 512, 1), 0x5au);
}

}  // namespace
}  // namespace nestor::emu
