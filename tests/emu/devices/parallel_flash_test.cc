// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/parallel_flash.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "tests/emu/devices/disk_file.h"

namespace nestor::emu {
namespace {

using test::DiskFile;

constexpr uint64_t kBytes = 32 << 12;

std::vector<uint8_t> pattern() {
  std::vector<uint8_t> bytes(kBytes);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

class ParallelFlashTest : public testing::Test {
 protected:
  uint8_t read(uint64_t offset) { return static_cast<uint8_t>(flash.read_memory({0, offset}, 1)); }
  void write(uint64_t offset, uint64_t value, unsigned size = 1) {
    flash.write_memory({0, offset}, size, value);
  }
  void erase(uint64_t offset) {
    write(offset, 0x20);
    write(offset, 0xd0);
  }

  DiskFile file{pattern()};
  ParallelFlash flash{{.path = file.path, .writable = true}};
};

TEST_F(ParallelFlashTest, ReadsItsFile) {
  EXPECT_EQ(flash.regions().front().size, kBytes);
  EXPECT_EQ(flash.read_memory({0, 0}, 8), 0x0807060504030201u);
  EXPECT_EQ(read(kBytes - 1), 0u);
}

// What OVMF does to find out whether there is RAM, a ROM or a flash.
TEST_F(ParallelFlashTest, IsRecognisedByOvmf) {
  write(0, 0x50);
  EXPECT_EQ(read(0), 1u);
  write(0, 0x70);
  EXPECT_EQ(read(0), 0u);
  write(0, 0x10);
  write(0, 1);
  write(0, 0x70);
  EXPECT_EQ(read(0) & 0x10, 0u);
  write(0, 0xff);
  EXPECT_EQ(read(0), 1u);
}

TEST_F(ParallelFlashTest, ProgramsOnesToZeros) {
  for (const uint8_t command : std::initializer_list<uint8_t>{0x10, 0x40}) {
    write(command, command);
    write(command, 0xf3);
    EXPECT_EQ(read(command), 0x80u) << "the status";
    write(0, 0xff);
    EXPECT_EQ(read(command), (command + 1) & 0xf3);
    EXPECT_EQ(file.content()[command], (command + 1) & 0xf3);
  }
  write(8, 0x40, 4);
  write(8, 0x00ff00ff, 4);
  write(8, 0xff);
  EXPECT_EQ(flash.read_memory({0, 8}, 4), 0x000b0009u);
}

TEST_F(ParallelFlashTest, ErasesASector) {
  erase(0x1fff);
  EXPECT_EQ(read(0), 0x80u);
  write(0, 0xff);
  EXPECT_EQ(read(0xfff), 0u);
  EXPECT_EQ(read(0x1000), 0xffu);
  EXPECT_EQ(read(0x1ffe), 0xffu);
  EXPECT_EQ(read(0x2000), 1u);
  EXPECT_EQ(file.content()[0x1010], 0xffu);
  EXPECT_EQ(file.content()[0x2000], 1u);
}

TEST_F(ParallelFlashTest, RefusesWhatDoesNotFollow) {
  write(0, 0x20);
  write(0, 0x12);
  EXPECT_EQ(read(0), 0xb0u);
  write(0, 0x50);
  write(0, 0x70);
  EXPECT_EQ(read(0), 0u);
  write(0, 0x60);
  write(0, 0xd0);
  EXPECT_EQ(read(0), 0x80u);
  write(0, 0x12);
  EXPECT_EQ(read(0), 1u) << "what is no command ends in the array";
}

TEST_F(ParallelFlashTest, WritesABuffer) {
  erase(0x1000);
  write(0x1104, 0xe8);
  EXPECT_EQ(read(0), 0x80u);
  write(0x1104, 3);
  write(0x1104, 0x44332211, 4);
  EXPECT_EQ(file.content()[0x1104], 0xffu) << "not before it is confirmed";
  write(0x1104, 0xd0);
  write(0, 0xff);
  EXPECT_EQ(flash.read_memory({0, 0x1104}, 8), 0xffffffff44332211u);
  EXPECT_EQ(file.content()[0x1105], 0x22u);
  // The data have the address.
  write(0x1000, 0xe8);
  write(0x1000, 0);
  write(0x1310, 0x77);
  write(0x1000, 0xd0);
  write(0, 0xff);
  EXPECT_EQ(read(0x1310), 0x77u);
  EXPECT_EQ(read(0x1010), 0xffu);
  // Beyond the buffer.
  write(0x1200, 0xe8);
  write(0x1200, 1);
  write(0x12ff, 0x1234, 2);
  write(0x1200, 0xd0);
  EXPECT_EQ(read(0), 0xb0u);
  write(0, 0xff);
  EXPECT_EQ(read(0x12ff), 0xffu);
}

TEST_F(ParallelFlashTest, SaysWhatItIs) {
  write(0, 0x98);
  EXPECT_EQ(flash.read_memory({0, 0x10}, 4), 0x01595251u) << "QRY, Intel's commands";
  EXPECT_EQ(read(0x27), 17u);
  EXPECT_EQ(flash.read_memory({0, 0x2c}, 4), 0x10001f01u) << "32 blocks";
  EXPECT_EQ(read(0x30), 0u);
  write(0, 0x90);
  EXPECT_EQ(read(0), 0x89u);
  write(0, 0xff);
  EXPECT_EQ(read(0), 1u);
}

TEST_F(ParallelFlashTest, WhatIsNotWritableStaysAsItIs) {
  const DiskFile other(pattern());
  ParallelFlash kept({.path = other.path});
  kept.write_memory({0, 0}, 1, 0x20);
  kept.write_memory({0, 0}, 1, 0xd0);
  kept.write_memory({0, 0}, 1, 0xff);
  EXPECT_EQ(kept.read_memory({0, 0}, 1), 0xffu);
  EXPECT_EQ(other.content(), pattern());
}

TEST_F(ParallelFlashTest, ALoadedOneHasItsContentAndTheFileFollows) {
  erase(0);
  write(0x1000, 0x40);  // in the midst of a command
  const auto save = [this](Archive& archive) { flash.serialize(archive); };
  const std::vector<uint8_t> saved = saved_bytes(save);
  const DiskFile other(pattern());
  ParallelFlash loaded({.path = other.path, .writable = true});
  ASSERT_TRUE(load_bytes(saved, [&](Archive& archive) { loaded.serialize(archive); }));
  EXPECT_EQ(other.content(), pattern()) << "nothing was written yet";
  loaded.write_memory({0, 0x1000}, 1, 0);
  EXPECT_EQ(other.content()[0], 0xffu);
  EXPECT_EQ(other.content()[0x1000], 0u);
  EXPECT_EQ(other.content()[0x1001], 2u);
  std::vector<uint8_t> bad = saved;
  bad[0] = 77;  // no mode
  EXPECT_FALSE(load_bytes(bad, [&](Archive& archive) { loaded.serialize(archive); }));
}

TEST(ParallelFlash, RefusesSizes) {
  for (const uint64_t bytes :
       {uint64_t{512}, uint64_t{4096 + 512}, ParallelFlash::kMostBytes + 4096}) {
    const DiskFile file(std::vector<uint8_t>(bytes, 0xff));
    EXPECT_THROW(ParallelFlash({.path = file.path}), DiskError) << bytes;
  }
}

}  // namespace
}  // namespace nestor::emu
