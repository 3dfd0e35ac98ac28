// SPDX-License-Identifier: GPL-2.0-or-later
//
// IBM VGA/XGA Technical Reference, "CRT Controller Registers", "Attribute Controller Registers" and
// "Alphanumeric Modes"; "Video Digital-to-Analog Converter".
#include "emu/devices/display/pictures.h"

#include <algorithm>
#include <array>

#include "emu/devices/display/vga_planes.h"

namespace nestor::emu {
namespace {

using Group = VgaRegisters::Group;
using Colour = std::array<uint8_t, 3>;

constexpr unsigned kPlaneMask = VgaPlanes::kPlaneBytes - 1, kFontPlane = 2;

// Bits of registers, which are named by their index.
constexpr unsigned kClockingMode = 1, kFontSelect = 3;                      // sequencer
constexpr uint8_t kEightDots = 0x01, kHalfClock = 0x08, kScreenOff = 0x20;  // clocking mode
constexpr unsigned kGraphicsMode = 5, kGraphicsMisc = 6;                    // graphics controller
constexpr uint8_t kShiftPairs = 0x20, kShift256 = 0x40, kIsGraphics = 0x01;
constexpr unsigned kAttributeMode = 0x10, kColourPlanes = 0x12, kColourSelect = 0x14;
constexpr uint8_t kLineGraphics = 0x04, kBlinks = 0x08, kSelectsBits = 0x80;  // attribute mode
constexpr uint8_t kCursorOff = 0x20, kScanLineMask = 0x1f, kDoubleScan = 0x80;
constexpr uint8_t kDoubleWord = 0x40;  // underline
constexpr uint8_t kByteMode = 0x40, kKeepBit13 = 0x01, kKeepBit14 = 0x02, kWrap15 = 0x20;  // mode

// The characters that have their eighth column again in the ninth: lines and corners.
constexpr bool is_line(uint8_t code) { return code >= 0xc0 && code <= 0xdf; }

// The colours that numbers stand for.
class Palette {
 public:
  Palette(const VgaRegisters& registers, bool wide) : registers_(registers), wide_(wide) {}

  // Of one of 256, before the mask.
  Colour colour(uint8_t number) const {
    const size_t at = 3u * (number & registers_.pel_mask());
    Colour found{};
    for (size_t i = 0; i < found.size(); ++i) {
      const unsigned level = registers_.palette()[at + i];
      found[i] = static_cast<uint8_t>(wide_ ? level : (level & 0x3f) << 2 | (level & 0x3f) >> 4);
    }
    return found;
  }
  // Of one of 16, by way of the attribute controller.
  Colour attribute(unsigned number) const {
    const auto& group = registers_.group(VgaRegisters::kAttribute);
    const unsigned select = group[kColourSelect];
    unsigned dac = group[number & group[kColourPlanes] & 0xf] & 0x3fu;
    if ((group[kAttributeMode] & kSelectsBits) != 0) dac = (dac & 0xf) | (select & 3) << 4;
    return colour(static_cast<uint8_t>(dac | (select & 0xc) << 4));
  }

 private:
  const VgaRegisters& registers_;
  const bool wide_;
};

Picture black(unsigned width, unsigned height) {
  return {width, height, std::vector<uint8_t>(size_t{3} * width * height)};
}

void set_dot(Picture& picture, unsigned x, unsigned y, const Colour& colour) {
  std::ranges::copy(colour, picture.dots.begin() + 3 * (std::ptrdiff_t{picture.width} * y + x));
}

// One VGA's registers and memory, as the functions below look at them.
struct View {
  const VgaRegisters& registers;
  std::span<const uint8_t> memory;

  uint8_t crtc(unsigned index) const { return registers.group(VgaRegisters::kCrtc)[index]; }
  uint8_t attribute(unsigned index) const {
    return registers.group(VgaRegisters::kAttribute)[index];
  }
  uint8_t sequencer(unsigned index) const {
    return registers.group(VgaRegisters::kSequencer)[index];
  }
  uint8_t graphics(unsigned index) const { return registers.group(VgaRegisters::kGraphics)[index]; }
  unsigned pair(unsigned high, unsigned low) const { return crtc(high) * 256u + crtc(low); }
  unsigned start() const { return pair(kStartHigh, kStartLow); }
  // What the address counter goes on by from one row to the next.
  unsigned row_step() const { return 2u * crtc(kOffset); }
  uint8_t plane(unsigned number, unsigned at) const {
    return memory[VgaPlanes::kPlanes * (at & kPlaneMask) + number];
  }
  // Where in the planes the counter leads, in a scan line of a row.
  unsigned place(unsigned counter, unsigned scan_line) const {
    unsigned at = counter;
    if ((crtc(kUnderline) & kDoubleWord) != 0) {
      at = counter << 2 | (counter >> 14 & 3);
    } else if ((crtc(kCrtcMode) & kByteMode) == 0) {
      at = counter << 1 | (counter >> ((crtc(kCrtcMode) & kWrap15) != 0 ? 15 : 13) & 1);
    }
    if ((crtc(kCrtcMode) & kKeepBit13) == 0) at = (at & ~0x2000u) | (scan_line & 1) << 13;
    if ((crtc(kCrtcMode) & kKeepBit14) == 0) at = (at & ~0x4000u) | (scan_line & 2) << 13;
    return at & kPlaneMask;
  }
  bool is_dark() const {
    return (sequencer(kClockingMode) & kScreenOff) != 0 || !registers.palette_is_shown();
  }
  // Where in plane 2 the glyphs are that attributes with bit 3 clear, or set, choose.
  unsigned font(bool second) const {
    const unsigned select = sequencer(kFontSelect);
    const unsigned map =
        second ? (select >> 2 & 3) | (select >> 3 & 4) : (select & 3) | (select >> 2 & 4);
    return 0x4000 * (map & 3) + 0x2000 * (map >> 2);
  }
};

void draw_cell(Picture& picture, const View& view, const VgaMode& mode, const Palette& palette,
               unsigned cell) {
  const unsigned at =
      view.place(view.start() + cell % mode.columns + cell / mode.columns * view.row_step(), 0);
  const uint8_t code = view.plane(0, at), attribute = view.plane(1, at);
  const uint8_t control = view.attribute(kAttributeMode);
  const unsigned background = attribute >> 4u & ((control & kBlinks) != 0 ? 7u : 15u);
  const Colour colours[] = {palette.attribute(background), palette.attribute(attribute & 0xf)};
  const unsigned font = view.font((attribute & 8) != 0);
  const unsigned cursor = view.pair(kCursorHigh, kCursorLow);
  const bool has_cursor =
      (view.crtc(kCursorStart) & kCursorOff) == 0 &&
      cursor == view.start() + cell % mode.columns + cell / mode.columns * view.row_step();
  for (unsigned line = 0; line < mode.cell_height; ++line) {
    uint8_t dots = view.plane(kFontPlane, font + 32u * code + line);
    const bool in_cursor = has_cursor && line >= (view.crtc(kCursorStart) & kScanLineMask) &&
                           line <= (view.crtc(kCursorEnd) & kScanLineMask);
    bool ninth = (control & kLineGraphics) != 0 && is_line(code) && (dots & 1) != 0;
    if (in_cursor) {
      dots = 0xff;
      ninth = true;
    }
    for (unsigned x = 0; x < mode.cell_width; ++x) {
      const bool set = x < 8 ? (dots >> (7 - x) & 1) != 0 : ninth;
      set_dot(picture, cell % mode.columns * mode.cell_width + x,
              cell / mode.columns * mode.cell_height + line, colours[set]);
    }
  }
}

bool has_font(const View& view) {
  for (const bool second : {false, true}) {
    for (unsigned i = 0; i < 0x2000; ++i) {
      if (view.plane(kFontPlane, view.font(second) + i) != 0) return true;
    }
  }
  return false;
}

// Sixteen colours of four planes, or four of pairs of bits, from the address `at` on.
unsigned number_at(const View& view, unsigned at, unsigned x) {
  const unsigned shift = 7 - x % 8;
  if ((view.graphics(kGraphicsMode) & kShiftPairs) != 0) {
    // Bytes of the even planes have the first four dots, of the odd ones the others.
    const unsigned odd = x % 8 / 4, pair = 2 * (3 - x % 4);
    return (view.plane(odd, at) >> pair & 3u) | (view.plane(2 + odd, at) >> pair & 3u) << 2;
  }
  unsigned number = 0;
  for (unsigned plane = 0; plane < VgaPlanes::kPlanes; ++plane)
    number |= (view.plane(plane, at) >> shift & 1u) << plane;
  return number;
}

void draw_dots(Picture& picture, const View& view, const Palette& palette, unsigned repeats) {
  const bool bytes = (view.graphics(kGraphicsMode) & kShift256) != 0;
  // With scan lines of a row that lie apart each is a line of the picture.
  const unsigned scan_lines = (view.crtc(kCrtcMode) & kKeepBit13) == 0 ? repeats : 1;
  for (unsigned y = 0; y < picture.height; ++y) {
    const unsigned counter = view.start() + y / scan_lines * view.row_step();
    for (unsigned x = 0; x < picture.width; ++x) {
      if (bytes) {
        // A double word of the counter's is four dots.
        const unsigned at = view.place(counter + x / 4, y % scan_lines);
        const unsigned dword = (view.crtc(kUnderline) & kDoubleWord) != 0 ? at / 4 : at;
        set_dot(picture, x, y, palette.colour(view.plane(x % 4, dword)));
      } else {
        const unsigned at = view.place(counter + x / 8, y % scan_lines);
        set_dot(picture, x, y, palette.attribute(number_at(view, at, x)));
      }
    }
  }
}

// How often each row of dots is scanned.
unsigned scans_of(const View& view) {
  return ((view.crtc(kMaximumScanLine) & kScanLineMask) + 1u) *
         ((view.crtc(kMaximumScanLine) & kDoubleScan) != 0 ? 2 : 1);
}

uint8_t widened(unsigned value, unsigned bits) {
  return static_cast<uint8_t>(value << (8 - bits) | value >> (2 * bits - 8));
}

Colour direct(std::span<const uint8_t> dot, unsigned bits) {
  if (bits >= 24) return {dot[2], dot[1], dot[0]};
  const unsigned value = dot[0] | dot[1] * 256u, green_bits = bits - 10;
  return {widened(value >> (5 + green_bits) & 31, 5),
          widened(value >> 5 & ((1u << green_bits) - 1), green_bits), widened(value & 31, 5)};
}

}  // namespace

VgaMode vga_mode(const VgaRegisters& registers) {
  const View view{registers, {}};
  const unsigned characters = view.crtc(kHorizontalDisplayEnd) + 1u;
  const unsigned overflow = view.crtc(kOverflow);
  const unsigned lines =
      (view.crtc(kVerticalDisplayEnd) | (overflow >> 1 & 1) << 8 | (overflow >> 6 & 1) << 9) + 1;
  VgaMode mode{};
  mode.is_text = (view.graphics(kGraphicsMisc) & kIsGraphics) == 0;
  if (mode.is_text) {
    mode.cell_width = (view.sequencer(kClockingMode) & kEightDots) != 0 ? 8 : 9;
    mode.cell_height = (view.crtc(kMaximumScanLine) & kScanLineMask) + 1u;
    mode.columns = characters;
    const unsigned doubled = (view.crtc(kMaximumScanLine) & kDoubleScan) != 0 ? 2 : 1;
    mode.rows = lines / doubled / mode.cell_height;
    mode.width = mode.columns * mode.cell_width;
    mode.height = mode.rows * mode.cell_height;
    return mode;
  }
  const bool bytes = (view.graphics(kGraphicsMode) & kShift256) != 0;
  const unsigned apart = (view.crtc(kCrtcMode) & kKeepBit13) == 0
                             ? (view.crtc(kMaximumScanLine) & kScanLineMask) + 1u
                             : 1;
  mode.width = characters * (bytes ? 4 : 8);
  mode.height = lines * apart / scans_of(view);
  return mode;
}

uint8_t character_in(const VgaRegisters& registers, const VgaMode& mode,
                     std::span<const uint8_t> memory, unsigned cell) {
  const View view{registers, memory};
  const unsigned counter =
      view.start() + cell % mode.columns + cell / mode.columns * view.row_step();
  return view.plane(0, view.place(counter, 0));
}

std::variant<Picture, NoPicture> vga_picture(const VgaRegisters& registers,
                                             std::span<const uint8_t> memory, bool wide_palette) {
  const View view{registers, memory};
  const VgaMode mode = vga_mode(registers);
  const Palette palette(registers, wide_palette);
  if (mode.width == 0 || mode.height == 0) return NoPicture{"the screen has no lines"};
  Picture picture = black(mode.width, mode.height);
  if (view.is_dark()) return picture;
  if (mode.is_text) {
    if (!has_font(view)) return NoPicture{"nobody has loaded a font: there is text alone"};
    for (unsigned cell = 0; cell < mode.columns * mode.rows; ++cell)
      draw_cell(picture, view, mode, palette, cell);
  } else {
    draw_dots(picture, view, palette, (view.crtc(kMaximumScanLine) & kScanLineMask) + 1u);
  }
  return picture;
}

Picture linear_picture(const Dispi::Mode& mode, const VgaRegisters& registers,
                       std::span<const uint8_t> memory, bool wide_palette) {
  const Palette palette(registers, wide_palette);
  const View view{registers, memory};
  Picture picture = black(mode.width, mode.height);
  const unsigned bytes = (mode.bits + 7) / 8;
  for (unsigned y = 0; y < mode.height; ++y) {
    const uint64_t line = mode.start + y * mode.line_bytes;
    for (unsigned x = 0; x < mode.width; ++x) {
      if (mode.bits == 4) {
        const auto at = static_cast<unsigned>(line / VgaPlanes::kPlanes + x / 8);
        set_dot(picture, x, y, palette.attribute(number_at(view, at, x)));
        continue;
      }
      const uint64_t at = line + uint64_t{x} * bytes;
      if (at + bytes > memory.size()) return picture;
      const auto dot = memory.subspan(at, bytes);
      set_dot(picture, x, y, mode.bits == 8 ? palette.colour(dot[0]) : direct(dot, mode.bits));
    }
  }
  return picture;
}

}  // namespace nestor::emu
