// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/efi_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "emu/devices/disk.h"
#include "tests/emu/devices/disk_file.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;

// Reads such a disk as its boot sector says.
class FatReader {
 public:
  explicit FatReader(std::vector<uint8_t> disk) : disk_(std::move(disk)) {}

  uint64_t number(uint64_t at, unsigned size) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{disk_.at(at + i)} << (8 * i);
    return value;
  }
  uint64_t fat(unsigned copy) const { return (number(14, 2) + copy * number(22, 2)) * 512; }
  uint64_t root() const { return fat(static_cast<unsigned>(number(16, 1))); }
  uint64_t cluster_bytes() const { return number(13, 1) * 512; }
  uint64_t clusters() const {
    return (disk_.size() - root() - number(17, 2) * 32) / cluster_bytes();
  }
  uint64_t place(uint64_t cluster) const {
    return root() + number(17, 2) * 32 + (cluster - 2) * cluster_bytes();
  }
  // The entry of this name in a directory: where it is.
  uint64_t entry(uint64_t directory, std::string_view name) const {
    for (uint64_t at = directory;; at += 32) {
      if (std::equal(name.begin(), name.end(), disk_.begin() + static_cast<std::ptrdiff_t>(at)))
        return at;
      if (disk_.at(at) == 0) throw std::out_of_range(std::string(name));
    }
  }
  uint64_t first_cluster(uint64_t entry) const { return number(entry + 26, 2); }
  std::vector<uint8_t> content(uint64_t entry) const {
    std::vector<uint8_t> all;
    for (uint64_t cluster = first_cluster(entry); cluster < 0xfff8;
         cluster = number(fat(0) + cluster * 2, 2)) {
      const auto begin = disk_.begin() + static_cast<std::ptrdiff_t>(place(cluster));
      all.insert(all.end(), begin, begin + static_cast<std::ptrdiff_t>(cluster_bytes()));
    }
    EXPECT_LT(all.size() - number(entry + 28, 4), cluster_bytes()) << "no cluster too many";
    all.resize(number(entry + 28, 4));
    return all;
  }

 private:
  const std::vector<uint8_t> disk_;
};

// What check_efi_application() looks at.
std::vector<uint8_t> application(size_t size) {
  std::vector<uint8_t> file(size);
  for (size_t i = 0; i < size; ++i) file[i] = static_cast<uint8_t>(i * 7 + i / 251);
  const auto put = [&file](size_t at, std::initializer_list<uint8_t> bytes) {
    std::ranges::copy(bytes, file.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, {'M', 'Z'});
  put(0x3c, {0x80, 0, 0, 0});
  put(0x80, {'P', 'E', 0, 0, 0x64, 0x86});
  put(0x98, {0x0b, 0x02});
  put(0xdc, {10, 0});
  return file;
}

TEST(EfiDisk, HasTheFileWhereFirmwareLooks) {
  // One sector less and more than clusters hold, and more than the smallest disk has.
  for (const size_t size : {1024u, 1025u, 4'190'000u, 40'000'000u}) {
    const std::vector<uint8_t> file = application(size);
    const FatReader disk(make_efi_disk(file));
    EXPECT_EQ(disk.number(510, 2), 0xaa55u);
    EXPECT_GE(disk.clusters(), 4085u);
    EXPECT_LE(disk.clusters(), 65524u);
    EXPECT_GE(disk.number(22, 2) * 256, disk.clusters() + 2) << "each cluster is in the table";
    const uint64_t efi = disk.place(disk.first_cluster(disk.entry(disk.root(), "EFI        \x10")));
    const uint64_t boot = disk.place(disk.first_cluster(disk.entry(efi, "BOOT       \x10")));
    EXPECT_TRUE(disk.content(disk.entry(boot, "BOOTX64 EFI")) == file) << size;
    EXPECT_EQ(disk.first_cluster(disk.entry(efi, "..         ")), 0u) << "the root";
    for (uint64_t at = 0; at < disk.number(22, 2) * 512; at += 2)
      ASSERT_EQ(disk.number(disk.fat(0) + at, 2), disk.number(disk.fat(1) + at, 2)) << at;
  }
}

TEST(EfiDisk, WhatIsNoApplicationIsNamed) {
  EXPECT_EQ(check_efi_application(application(1024)), "");
  EXPECT_THAT(check_efi_application({}), HasSubstr("no PE image"));
  std::vector<uint8_t> other = application(1024);
  for (const size_t size : {1u, 0x3du, 0x80u, 0x81u})
    EXPECT_THAT(check_efi_application(std::span(other).first(size)), HasSubstr("no PE image"));
  other[0x84] = 0x4c;
  EXPECT_THAT(check_efi_application(other), HasSubstr("not for x86-64"));
  other = application(1024);
  other[0xdc] = 12;
  EXPECT_THAT(check_efi_application(other), HasSubstr("its subsystem is 12"));
  other = application(1024);
  std::ranges::fill(std::span(other).subspan(0x3c, 4), uint8_t{0xff});
  EXPECT_THAT(check_efi_application(other), HasSubstr("no PE image"));
}

TEST(EfiDisk, IsADiskThatMayBeWritten) {
  const std::vector<uint8_t> file = application(2000);
  const test::DiskFile source(file);
  Disk disk(DiskConfig{.path = source.path, .efi_application = true});
  const std::vector<uint8_t> whole = make_efi_disk(file);
  EXPECT_EQ(disk.bytes(), whole.size());
  std::vector<uint8_t> read(whole.size());
  ASSERT_TRUE(disk.read(0, read));
  EXPECT_TRUE(read == whole);
  const std::vector<uint8_t> sector(512, 0x5a);
  ASSERT_TRUE(disk.write(1024, sector));
  ASSERT_TRUE(disk.read(0, read));
  EXPECT_TRUE(std::ranges::equal(std::span(read).subspan(1024, 512), sector));
  EXPECT_TRUE(std::ranges::equal(std::span(read).subspan(1536), std::span(whole).subspan(1536)));

  const test::DiskFile text(std::vector<uint8_t>(512, 'a'));
  try {
    const Disk bad(DiskConfig{.path = text.path, .efi_application = true});
    FAIL() << "it is none";
  } catch (const DiskError& error) {
    EXPECT_THAT(error.what(), HasSubstr("as an EFI application: it is no PE image"));
  }
}

}  // namespace
}  // namespace nestor::emu
