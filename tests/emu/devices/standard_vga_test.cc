// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/devices/display_fixture.h"
#include "tests/emu/devices/random_display_guest.h"

namespace nestor::emu {
namespace {

using test::DisplayMachine;
using test::dot;

constexpr uint16_t kSequencer = 0x3c4, kGraphics = 0x3ce, kCrtc = 0x3d4;
constexpr uint32_t kGrey = 0xaaaaaa, kBlue = 0x0000aa, kBlack = 0;

class StandardVgaTest : public testing::Test {
 protected:
  // As a BIOS does for mode 3: colours, and the glyph of 'A', whose dots are those of `rows`.
  void begin_text(std::initializer_list<uint8_t> rows) {
    m_.set_colour(0x07, 0x2a, 0x2a, 0x2a);
    m_.set_colour(0x01, 0, 0, 0x2a);
    m_.show_palette();
    m_.set(kSequencer, 2, 4);
    m_.set(kSequencer, 4, 7);
    m_.set(kGraphics, 5, 0);
    m_.set(kGraphics, 6, 4);
    uint64_t at = 0xa0000 + 32 * 'A';
    for (const uint8_t row : rows) m_.store(at++, row);
    m_.set(kSequencer, 2, 3);
    m_.set(kSequencer, 4, 3);
    m_.set(kGraphics, 5, 0x10);
    m_.set(kGraphics, 6, 0x0e);
    m_.set(kCrtc, 0x0a, 0x20);  // no cursor
  }

  DisplayMachine m_;
};

TEST_F(StandardVgaTest, TextIsDrawnWithTheFontOfTheGuest) {
  begin_text({0x81, 0xff});
  m_.store(0xb8000 + 2 * 81, 0x1741, 2);  // grey on blue
  EXPECT_EQ(m_.text(), "\n A\n");
  const Picture picture = m_.picture();
  ASSERT_EQ(picture.width, 720u);
  ASSERT_EQ(picture.height, 400u);
  EXPECT_EQ(dot(picture, 9, 16), kGrey);
  EXPECT_EQ(dot(picture, 10, 16), kBlue);
  EXPECT_EQ(dot(picture, 16, 16), kGrey);
  EXPECT_EQ(dot(picture, 17, 16), kBlue) << "the ninth column";
  EXPECT_EQ(dot(picture, 12, 17), kGrey);
  EXPECT_EQ(dot(picture, 12, 18), kBlue);
  EXPECT_EQ(dot(picture, 8, 16), kBlack);
  m_.set(kSequencer, 1, 0x01);
  EXPECT_EQ(m_.picture().width, 640u) << "eight dots a character";
}

TEST_F(StandardVgaTest, LinesReachTheNextCharacter) {
  begin_text({});
  m_.set(kSequencer, 2, 4);
  m_.set(kSequencer, 4, 7);
  m_.set(kGraphics, 6, 4);
  m_.set(kGraphics, 5, 0);
  m_.store(0xa0000 + 32 * 0xc4, 0xff);
  m_.set(kSequencer, 2, 3);
  m_.set(kSequencer, 4, 3);
  m_.set(kGraphics, 6, 0x0e);
  m_.set(kGraphics, 5, 0x10);
  m_.store(0xb8000, 0x07c4, 2);
  EXPECT_EQ(m_.text(), "─\n");
  EXPECT_EQ(dot(m_.picture(), 8, 0), kGrey);
}

TEST_F(StandardVgaTest, TheCursorIsShown) {
  begin_text({0xff});
  m_.store(0xb8000 + 2 * 2, 0x0700, 2);
  m_.set(kCrtc, 0x0f, 2);
  m_.set(kCrtc, 0x0a, 0x0d);
  m_.set(kCrtc, 0x0b, 0x0e);
  const Picture picture = m_.picture();
  EXPECT_EQ(dot(picture, 18, 12), kBlack);
  EXPECT_EQ(dot(picture, 18, 13), kGrey);
  EXPECT_EQ(dot(picture, 26, 14), kGrey);
  EXPECT_EQ(dot(picture, 18, 15), kBlack);
  EXPECT_EQ(dot(picture, 27, 13), kBlack);
}

TEST_F(StandardVgaTest, WithoutAFontThereIsNoPicture) {
  m_.show_palette();
  m_.store(0xb8000, 0x0741, 2);
  ASSERT_TRUE(std::holds_alternative<NoPicture>(m_.vga.picture()));
  EXPECT_EQ(m_.text(), "A\n");
}

TEST_F(StandardVgaTest, AScreenThatIsOffIsBlack) {
  begin_text({0xff});
  m_.store(0xb8000, 0x0741, 2);
  EXPECT_EQ(dot(m_.picture(), 0, 0), kGrey);
  m_.set(kSequencer, 1, 0x20);
  EXPECT_EQ(dot(m_.picture(), 0, 0), kBlack);
}

// Mode 12H, 640 by 480 dots of 16 colours in four planes.
class PlanarTest : public StandardVgaTest {
 protected:
  PlanarTest() {
    m_.set(kSequencer, 4, 6);
    m_.set(kSequencer, 2, 0x0f);
    m_.set(kGraphics, 5, 0);
    m_.set(kGraphics, 6, 5);
    m_.set(kGraphics, 8, 0xff);
    m_.set(kCrtc, 0x07, 0x3e);
    m_.set(kCrtc, 0x09, 0x40);
    m_.set(kCrtc, 0x12, 0xdf);
    m_.set(kCrtc, 0x17, 0xe3);
    for (uint8_t i = 0; i < 16; ++i) {
      m_.set_attribute(i, i);
      m_.set_colour(i, i, 0, 0);
    }
    m_.set_attribute(0x12, 0x0f);
    m_.show_palette();
  }
  // The number of the colour of a dot.
  uint32_t number(unsigned x, unsigned y) const { return dot(m_.picture(), x, y) >> 18; }
};

TEST_F(PlanarTest, ShowsFourPlanes) {
  m_.set(kSequencer, 2, 0x05);
  m_.store(0xa0000 + 80 + 1, 0x80);
  m_.set(kSequencer, 2, 0x08);
  m_.store(0xa0000 + 80 + 1, 0x40);
  const Picture picture = m_.picture();
  ASSERT_EQ(picture.width, 640u);
  ASSERT_EQ(picture.height, 480u);
  EXPECT_EQ(number(8, 1), 5u);
  EXPECT_EQ(number(9, 1), 8u);
  EXPECT_EQ(number(10, 1), 0u);
  EXPECT_TRUE(std::holds_alternative<GraphicsMode>(m_.vga.text()));
}

TEST_F(PlanarTest, WritesByItsModes) {
  // Mode 0: rotated, with set/reset for plane 1.
  m_.set(kGraphics, 3, 4);
  m_.set(kGraphics, 1, 2);
  m_.set(kGraphics, 0, 2);
  m_.store(0xa0000, 0x0f);
  EXPECT_EQ(m_.video.content[0], 0xf0);
  EXPECT_EQ(m_.video.content[1], 0xff);
  // Mode 1: the latches.
  (void)m_.load(0xa0000);
  m_.set(kGraphics, 5, 1);
  m_.store(0xa0001, 0);
  EXPECT_EQ(m_.video.content[4], 0xf0);
  EXPECT_EQ(m_.video.content[5], 0xff);
  // Mode 2: a colour, under a mask, XORed with the latches.
  m_.set(kGraphics, 5, 2);
  m_.set(kGraphics, 3, 0x18);
  m_.set(kGraphics, 8, 0x81);
  (void)m_.load(0xa0000);
  m_.store(0xa0002, 0x03);
  EXPECT_EQ(m_.video.content[8], 0x71);
  EXPECT_EQ(m_.video.content[9], 0x7e);
  EXPECT_EQ(m_.video.content[10], 0xf0) << "the colour is 0 there";
  // Mode 3: set/reset where the rotated data and the mask are.
  m_.set(kGraphics, 5, 3);
  m_.set(kGraphics, 3, 0);
  m_.set(kGraphics, 8, 0xf0);
  m_.set(kGraphics, 0, 0x0f);
  (void)m_.load(0xa0100);
  m_.store(0xa0003, 0x3c);
  EXPECT_EQ(m_.video.content[12], 0x30);
}

TEST_F(PlanarTest, ReadsAPlaneOrComparesColours) {
  m_.set(kSequencer, 2, 4);
  m_.store(0xa0000, 0x5a);
  m_.set(kGraphics, 4, 2);
  EXPECT_EQ(m_.load(0xa0000), 0x5au);
  m_.set(kGraphics, 4, 1);
  EXPECT_EQ(m_.load(0xa0000), 0u);
  m_.set(kGraphics, 5, 8);
  m_.set(kGraphics, 2, 4);
  m_.set(kGraphics, 7, 0x0f);
  EXPECT_EQ(m_.load(0xa0000), 0x5au) << "where the colour is 4";
  m_.set(kGraphics, 7, 0);
  EXPECT_EQ(m_.load(0xa0000), 0xffu) << "no plane counts";
}

TEST_F(StandardVgaTest, Mode13hShowsBytes) {
  m_.set(kSequencer, 4, 0x0e);
  m_.set(kSequencer, 2, 0x0f);
  m_.set(kGraphics, 5, 0x40);
  m_.set(kGraphics, 6, 5);
  m_.set(kCrtc, 0x09, 0x41);
  m_.set(kCrtc, 0x12, 0x8f);
  m_.set(kCrtc, 0x14, 0x40);
  m_.set(kCrtc, 0x17, 0xa3);
  m_.set_colour(200, 1, 2, 63);
  m_.show_palette();
  m_.store(0xa0000 + 320 * 5 + 7, 200);
  const Picture picture = m_.picture();
  ASSERT_EQ(picture.width, 320u);
  ASSERT_EQ(picture.height, 200u);
  EXPECT_EQ(dot(picture, 7, 5), 0x0408ffu);
  EXPECT_EQ(m_.load(0xa0000 + 320 * 5 + 7), 200u);
}

TEST_F(StandardVgaTest, DispiIsThere) {
  EXPECT_EQ(m_.dispi(0), 0xb0c5);
  EXPECT_EQ(m_.dispi(0xa), 256) << "units of 64 KiB";
  m_.dispi(0, 0xb0c0);
  EXPECT_EQ(m_.dispi(0), 0xb0c0);
  m_.dispi(0, 0x1234);
  EXPECT_EQ(m_.dispi(0), 0xb0c0);
  m_.dispi(4, 2);
  EXPECT_EQ(m_.dispi(1), 2560);
  EXPECT_EQ(m_.dispi(2), 1600);
  EXPECT_EQ(m_.dispi(3), 32);
  m_.dispi(4, 0);
  m_.dispi(1, 2561);
  EXPECT_EQ(m_.dispi(1), 0) << "wider than it can";
  m_.dispi(3, 17);
  EXPECT_EQ(m_.dispi(3), 0);
  EXPECT_EQ(m_.dispi(11), 0);
  EXPECT_EQ(m_.in(0x1ce, 1), 0xffu) << "words alone";
}

TEST_F(StandardVgaTest, LinearModesShowTheirDots) {
  struct Case {
    uint16_t bits;
    uint32_t dot, shown;
  };
  for (const auto& [bits, value, shown] :
       {Case{15, 0x7c1f, 0xff00ff}, Case{16, 0x07e0, 0x00ff00}, Case{24, 0x123456, 0x123456},
        Case{32, 0xff123456, 0x123456}}) {
    m_.set_mode(800, 600, bits);
    const unsigned bytes = (bits + 7u) / 8;
    const uint64_t at = uint64_t{3} * 800 * bytes + 5 * bytes;
    for (unsigned i = 0; i < bytes; ++i)
      m_.video.content[at + i] = static_cast<uint8_t>(value >> (8 * i));
    const Picture picture = m_.picture();
    ASSERT_EQ(picture.width, 800u);
    ASSERT_EQ(picture.height, 600u);
    EXPECT_EQ(dot(picture, 5, 3), shown) << bits;
    EXPECT_EQ(dot(picture, 6, 3), kBlack) << bits;
    m_.dispi(8, 5);
    m_.dispi(9, 3);
    EXPECT_EQ(dot(m_.picture(), 0, 0), shown) << bits;
    m_.dispi(8, 0xffff);
    m_.dispi(9, 0xffff);
    EXPECT_EQ(dot(m_.picture(), 0, 0), kBlack) << "beyond the memory";
  }
  m_.set_mode(640, 480, 8);
  m_.set_colour(9, 0, 63, 0);
  m_.video.content[640] = 9;
  EXPECT_EQ(dot(m_.picture(), 0, 1), 0x00ff00u);
  m_.dispi(4, 0x61);
  EXPECT_EQ(dot(m_.picture(), 0, 1), 0x003f00u) << "with 8 bits a colour";
}

TEST_F(StandardVgaTest, AModeClearsWhatItShows) {
  m_.video.content[0] = m_.video.content[64 * 64 * 4] = 1;
  m_.set_mode(64, 64, 32, 0xc1);
  EXPECT_EQ(m_.video.content[0], 1) << "told not to";
  m_.set_mode(64, 64, 32);
  EXPECT_EQ(m_.video.content[0], 0);
  EXPECT_EQ(m_.video.content[64 * 64 * 4], 1);
  m_.dispi(1, 128);
  EXPECT_EQ(m_.dispi(1), 64) << "not while it is on";
  m_.dispi(6, 256);
  EXPECT_EQ(m_.dispi(7), (16 << 20) / 1024);
  m_.dispi(6, 1);
  EXPECT_EQ(m_.dispi(6), 64);
}

TEST_F(StandardVgaTest, TheWindowShowsABank) {
  m_.set(kSequencer, 4, 0x0e);
  m_.set(kSequencer, 2, 0x0f);
  m_.set(kGraphics, 5, 0x40);
  m_.set(kGraphics, 6, 5);
  m_.set_mode(1024, 768, 32);
  m_.dispi(5, 3);
  m_.store(0xa0123, 0xab);
  EXPECT_EQ(m_.video.content[0x30123], 0xab);
  EXPECT_EQ(m_.load(0xa0123), 0xabu);
  m_.dispi(5, 0x100);
  EXPECT_EQ(m_.dispi(5), 0) << "there are so many";
}

TEST_F(StandardVgaTest, ItsMemoryIsWhereItsFunctionSays) {
  EXPECT_EQ(m_.machine.read(DisplayMachine::kSlot, 0x10, 4), 8u) << "prefetchable";
  m_.machine.write(DisplayMachine::kSlot, 0x10, 4, ~0u);
  EXPECT_EQ(m_.machine.read(DisplayMachine::kSlot, 0x10, 4), 0xff000008u);
  m_.machine.write(DisplayMachine::kSlot, 0x10, 4, 0xd0000000);
  EXPECT_EQ(m_.video.placed, std::nullopt);
  m_.machine.write(DisplayMachine::kSlot, 0x04, 2, 3);
  EXPECT_EQ(m_.machine.read(DisplayMachine::kSlot, 0x04, 2), 3u);
  EXPECT_EQ(m_.video.placed, 0xd0000000u);
  m_.store(0xd0fffff8, 0x1122334455667788, 8);
  EXPECT_EQ(m_.video.content[0xffffff], 0x11);
  EXPECT_EQ(m_.load(0xd0fffff8, 8), 0x1122334455667788u);
  m_.machine.write(DisplayMachine::kSlot, 0x04, 2, 0);
  EXPECT_EQ(m_.video.placed, std::nullopt);
}

TEST_F(StandardVgaTest, ItsRegistersAreInMemoryToo) {
  m_.machine.write(DisplayMachine::kSlot, 0x18, 4, 0xd1000000);
  m_.machine.write(DisplayMachine::kSlot, 0x04, 2, 2);
  EXPECT_EQ(m_.load(0xd1000500, 2), 0xb0c5u);
  m_.store(0xd1000502, 0x01000200, 4);
  EXPECT_EQ(m_.dispi(1), 0x200);
  EXPECT_EQ(m_.dispi(2), 0x100);
  EXPECT_EQ(m_.load(0xd1000600, 4), 8u);
  EXPECT_EQ(m_.load(0xd1000604, 4), 0x1e1e1e1eu);
  m_.store(0xd1000414, 0x5a0f, 2);  // 3D4H and 3D5H
  m_.out(0x3d4, 0x0f);
  EXPECT_EQ(m_.in(0x3d5), 0x5au);
  EXPECT_EQ(m_.load(0xd1000415), 0x5au);
  EXPECT_EQ(m_.load(0xd1000000, 8), 0u) << "no EDID";
  EXPECT_EQ(m_.load(0xd1000ff8, 8), 0u);
}

TEST(DisplayFunctionTest, ItsRomIsThereWhenItIsEnabled) {
  DisplayMachine m(std::vector<uint8_t>{0x55, 0xaa, 1});
  m.machine.write(DisplayMachine::kSlot, 0x04, 2, 2);
  m.machine.write(DisplayMachine::kSlot, 0x30, 4, ~1u);
  EXPECT_EQ(m.machine.read(DisplayMachine::kSlot, 0x30, 4), 0xffff0000u);
  m.machine.write(DisplayMachine::kSlot, 0x30, 4, 0xd2000000);
  EXPECT_EQ(m.load(0xd2000000, 2), 0xffffu);
  m.machine.write(DisplayMachine::kSlot, 0x30, 4, 0xd2000001);
  EXPECT_EQ(m.load(0xd2000000, 2), 0xaa55u);
  m.store(0xd2000000, 0);
  EXPECT_EQ(m.load(0xd2000000, 4), 0x01aa55u);
  EXPECT_EQ(m.load(0xd200fff8, 8), 0u);
}

TEST(DisplayFunctionTest, WithoutARomThereIsNoRegisterForIt) {
  DisplayMachine m;
  m.machine.write(DisplayMachine::kSlot, 0x30, 4, ~0u);
  EXPECT_EQ(m.machine.read(DisplayMachine::kSlot, 0x30, 4), 0u);
}

TEST_F(StandardVgaTest, IsSaved) {
  begin_text({0xff});
  m_.store(0xb8000, 0x0741, 2);
  m_.machine.write(DisplayMachine::kSlot, 0x10, 4, 0xd0000000);
  m_.machine.write(DisplayMachine::kSlot, 0x04, 2, 3);
  m_.set_mode(320, 200, 32, 0xc1);
  const auto state = saved_bytes([&](Archive& archive) { m_.serialize(archive); });
  DisplayMachine other;
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other.serialize(archive); }));
  EXPECT_EQ(other.video.placed, 0xd0000000u);
  EXPECT_EQ(other.picture().width, 320u);
  other.dispi(4, 0);
  EXPECT_EQ(other.text(), "A\n");
  EXPECT_EQ(dot(other.picture(), 0, 0), kGrey);
}

TEST(RandomDisplayGuestTest, NothingThatItDoesGoesWrong) {
  test::RandomDisplayGuest guest(1);
  for (unsigned i = 0; i < 20'000; ++i) ASSERT_NO_THROW(guest.step()) << i;
  EXPECT_GT(guest.pictures, 50u);
  EXPECT_GT(guest.texts, 10u);
  EXPECT_GT(guest.graphics, 50u);
}

}  // namespace
}  // namespace nestor::emu
