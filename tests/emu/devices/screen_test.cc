// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VGA text screen and the ROM.
#include <gtest/gtest.h>

#include <string>

#include "emu/devices/display/vga_text.h"
#include "emu/devices/emulator/rom.h"
#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

std::string shown(const VgaText& vga) { return std::get<std::string>(vga.text()); }

class VgaTextTest : public testing::Test {
 protected:
  void write_index(uint16_t port, uint8_t index, uint8_t value) {
    bus_.write_port(port, 2, static_cast<uint32_t>(value << 8 | index));
  }
  uint32_t read_index(uint16_t port, uint8_t index) {
    bus_.write_port(port, 1, index);
    return bus_.read_port(static_cast<uint16_t>(port + 1), 1);
  }
  void print(unsigned row, unsigned column, std::string_view text, uint64_t memory = 0xb8000) {
    for (const char c : text) {
      bus_.write_memory(memory + 2 * (80 * row + column++), 2, 0x0700u | static_cast<uint8_t>(c));
    }
  }

  Bus bus_;
  VgaText vga_;
  std::vector<Claim> claims_ = test::plug(bus_, vga_, "VGA text screen");
};

TEST_F(VgaTextTest, StartsBlank) {
  EXPECT_EQ(shown(vga_), "");
  EXPECT_EQ(bus_.read_memory(0xb8000, 4), 0x07200720u);
  EXPECT_EQ(bus_.read_memory(0xbfffe, 2), 0x0720u);
}

TEST_F(VgaTextTest, ShowsWhatIsWritten) {
  print(0, 0, "Hello,  world");
  print(2, 76, "edge");
  print(3, 1, std::string("\xb0\xe1\x01\0x", 5));
  EXPECT_EQ(shown(vga_), "Hello,  world\n\n" + std::string(76, ' ') + "edge\n ░ß☺ x\n");
}

TEST_F(VgaTextTest, ShowsTheRowsFromItsStartAddressOn) {
  print(1, 0, "second");
  print(25, 0, "last");
  print(0, 0, "first");
  write_index(0x3d4, 0x0c, 0);
  write_index(0x3d4, 0x0d, 80);
  EXPECT_EQ(shown(vga_), "second\n" + std::string(23, '\n') + "last\n");
  write_index(0x3d4, 0x0c, 0xff);
  write_index(0x3d4, 0x0d, 0xff);
  EXPECT_EQ(shown(vga_).substr(0, 7), " first\n") << "it wraps";
}

TEST_F(VgaTextTest, RegistersKeepWhatIsWritten) {
  EXPECT_EQ(read_index(0x3d4, 0x0a), 0x0du) << "the cursor begins in line 13";
  write_index(0x3d4, 0x0e, 0x07);
  write_index(0x3d4, 0x0f, 0xcf);
  EXPECT_EQ(read_index(0x3d4, 0x0e), 0x07u);
  EXPECT_EQ(read_index(0x3d4, 0x0f), 0xcfu);
  EXPECT_EQ(bus_.read_port(0x3d4, 1), 0x0fu);
  write_index(0x3c4, 2, 5);
  write_index(0x3ce, 5, 6);
  EXPECT_EQ(read_index(0x3c4, 2), 5u);
  EXPECT_EQ(read_index(0x3ce, 5), 6u);
  bus_.write_port(0x3c2, 1, 0xe3);
  EXPECT_EQ(bus_.read_port(0x3cc, 1), 0xe3u);
}

TEST_F(VgaTextTest, AttributeRegistersShareAPort) {
  bus_.read_port(0x3da, 1);  // an index is next
  bus_.write_port(0x3c0, 1, 0x30);
  bus_.write_port(0x3c0, 1, 0x08);
  EXPECT_EQ(bus_.read_port(0x3c0, 1), 0x30u);
  bus_.write_port(0x3c0, 1, 0x11);
  bus_.read_port(0x3da, 1);
  bus_.write_port(0x3c0, 1, 0x12);
  bus_.write_port(0x3c0, 1, 0x0f);
  bus_.write_port(0x3c0, 1, 0x12);
  EXPECT_EQ(bus_.read_port(0x3c1, 1), 0x0fu);
}

TEST_F(VgaTextTest, TheRetraceComesAndGoes) {
  const uint32_t first = bus_.read_port(0x3da, 1) & 8, second = bus_.read_port(0x3da, 1) & 8;
  EXPECT_NE(first, second);
}

TEST_F(VgaTextTest, ThePaletteIsMemory) {
  bus_.write_port(0x3c8, 1, 0xff);
  for (const uint32_t part : {1u, 2u, 3u, 4u}) bus_.write_port(0x3c9, 1, part);
  bus_.write_port(0x3c7, 1, 0xff);
  EXPECT_EQ(bus_.read_port(0x3c9, 1), 1u);
  EXPECT_EQ(bus_.read_port(0x3c9, 1), 2u);
  EXPECT_EQ(bus_.read_port(0x3c9, 1), 3u);
  EXPECT_EQ(bus_.read_port(0x3c9, 1), 4u) << "it begins anew";
}

TEST_F(VgaTextTest, IsSaved) {
  print(0, 0, "saved");
  write_index(0x3d4, 0x0f, 5);
  const auto state = saved_bytes([&](Archive& archive) { vga_.serialize(archive); });
  VgaText other;
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other.serialize(archive); }));
  EXPECT_EQ(shown(other), "saved\n");
}

TEST(RomTest, IsReadOnly) {
  Bus bus;
  Rom rom({0x11, 0x22, 0x33, 0x44});
  const auto claims = test::plug(bus, rom, "ROM");
  EXPECT_EQ(bus.read_memory(0xe0000, 4), 0x44332211u);
  bus.write_memory(0xe0000, 4, 0);
  EXPECT_EQ(bus.read_memory(0xe0001, 2), 0x3322u);
  EXPECT_EQ(bus.read_memory(0xffff8, 8), 0u);
}

}  // namespace
}  // namespace nestor::emu
