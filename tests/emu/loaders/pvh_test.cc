// SPDX-License-Identifier: GPL-2.0-or-later
//
// ELF files with the note of PVH: Xen's "x86/HVM direct boot ABI".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/emu/loaders/load_fixture.h"

namespace nestor::emu {
namespace {

using namespace testing;
using ::testing::HasSubstr;

class PvhTest : public ::testing::Test {
 protected:
  void load(ByteVector bytes, const std::vector<Module>& modules = {}, std::string_view line = "") {
    FirmwareInformation firmware;
    firmware.reserved = {{0xe0000, 0x20000}};
    firmware.rsdp_address = 0xf0000;
    image_ = load_ok(std::move(bytes), modules, line, kMemory, firmware);
    info_ = image_.cpu.gpr[vmx::kRbx];
  }
  uint64_t number(uint64_t address, unsigned width) {
    for (const Piece& piece : image_.pieces) {
      if (address >= piece.address && address - piece.address + width <= piece.bytes.size())
        return *read_number(piece.bytes, address - piece.address, width);
    }
    ADD_FAILURE() << "nothing at " << address;
    return 0;
  }
  std::string text(uint64_t address) {
    std::string out;
    while (const char c = static_cast<char>(number(address++, 1))) out += c;
    return out;
  }

  LoadedImage image_;
  uint64_t info_ = 0;
};

TEST_F(PvhTest, IsEnteredWhereItsNoteSays) {
  for (const bool is_64bit : {true, false}) {
    for (const uint64_t bytes : {4, 8}) {
      load(build_pvh({.bytes = bytes, .value = 0x100020}, is_64bit ? elf64_spec() : ElfSpec{}));
      EXPECT_EQ(image_.format, ImageFormat::kPvh);
      EXPECT_EQ(image_.cpu.rip, 0x100020u);
      EXPECT_EQ(image_.cpu.cr0, 0x11u);
      EXPECT_EQ(image_.cpu.cr4, 0u);
      EXPECT_EQ(image_.cpu.efer, 0u);
      EXPECT_EQ(number(info_, 4), 0x336ec578u);
      EXPECT_EQ(number(info_ + 4, 4), 1u) << "version";
      EXPECT_EQ(number(info_ + 8, 4), 0u) << "flags";
    }
  }
}

TEST_F(PvhTest, SaysWhatMemoryThereIs) {
  load(build_pvh(), {}, "one two");
  EXPECT_EQ(text(number(info_ + 24, 8)), "one two") << "without the image's name";
  EXPECT_EQ(number(info_ + 32, 8), 0xf0000u);
  const uint64_t map = number(info_ + 40, 8);
  ASSERT_EQ(number(info_ + 48, 4), 3u);
  const struct {
    uint64_t first, size, type;
  } kExpected[] = {{0, 0xa0000, 1}, {0xe0000, 0x20000, 2}, {0x100000, 0xf00000, 1}};
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(number(map + 24 * i, 8), kExpected[i].first);
    EXPECT_EQ(number(map + 24 * i + 8, 8), kExpected[i].size);
    EXPECT_EQ(number(map + 24 * i + 16, 4), kExpected[i].type);
  }
  EXPECT_EQ(number(info_ + 12, 4), 0u);
  EXPECT_EQ(number(info_ + 16, 8), 0u) << "no modules";
}

TEST_F(PvhTest, TheInitrdsAreTheFirstModule) {
  load(build_pvh(), {{"module", {9}, "its line"},
                     {"first", {1, 2, 3}, std::nullopt, true},
                     {"second", {4}, std::nullopt, true}});
  ASSERT_EQ(number(info_ + 12, 4), 2u);
  const uint64_t modules = number(info_ + 16, 8);
  const uint64_t initrd = number(modules, 8);
  EXPECT_EQ(number(modules + 8, 8), 5u);
  EXPECT_EQ(number(initrd, 4), 0x00030201u) << "each at a multiple of 4";
  EXPECT_EQ(number(initrd + 4, 1), 4u);
  EXPECT_EQ(number(number(modules + 32, 8), 1), 9u);
  EXPECT_EQ(text(number(modules + 48, 8)), "its line");
}

TEST_F(PvhTest, OtherNotesMeanNothing) {
  for (const NoteSpec& note :
       {NoteSpec{.type = 17}, NoteSpec{.name_bytes = 3}, NoteSpec{.bytes = 2},
        NoteSpec{.bytes = 0xffffffff, .segment_bytes = 20}, NoteSpec{.name_bytes = 0xfffffffd},
        NoteSpec{.segment_offset = 0x1fff}, NoteSpec{.segment_offset = ~0ull - 3},
        NoteSpec{.segment_bytes = 11}}) {
    load(build_pvh(note));
    EXPECT_EQ(image_.format, ImageFormat::kElf64);
  }
}

TEST_F(PvhTest, AnotherNoteMayComeBefore) {
  ByteVector bytes = build_pvh({.segment_bytes = 48});
  std::copy_n(bytes.begin() + kNoteOffset, 20, bytes.begin() + kNoteOffset + 24);
  put(bytes, kNoteOffset + 4, 6, 4);  // padded to 8
  put(bytes, kNoteOffset + 8, 6, 4);
  load(std::move(bytes));
  EXPECT_EQ(image_.format, ImageFormat::kPvh);
  EXPECT_EQ(image_.cpu.rip, 0x100010u);
}

TEST_F(PvhTest, AnEntryPointOutsideIsRefused) {
  for (const uint64_t value : {0ull, 0xfffffull, 0x100040ull, ~0ull}) {
    EXPECT_THAT(load_bad(build_pvh({.bytes = 8, .value = value})),
                HasSubstr("lies outside what is loaded"));
  }
}

TEST_F(PvhTest, MultibootComesFirst) {
  ByteVector bytes = build_pvh({}, {});
  put_multiboot1(bytes, kHeaderOffset, 0);
  load(std::move(bytes));
  EXPECT_EQ(image_.format, ImageFormat::kMultiboot1);
}

}  // namespace
}  // namespace nestor::emu
