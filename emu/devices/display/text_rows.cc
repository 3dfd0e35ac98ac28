// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/display/text_rows.h"

#include <string_view>

namespace nestor::emu {
namespace {

constexpr uint8_t kBlank = ' ';

// Code page 437 beyond ASCII, and its glyphs for control characters.
constexpr std::u16string_view kLowGlyphs = u" ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
constexpr std::u16string_view kHighGlyphs =
    u"⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»"
    u"░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    u"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
static_assert(kLowGlyphs.size() == 0x20 && kHighGlyphs.size() == 0x81);

void append_glyph(std::string& out, uint8_t character) {
  const char16_t glyph = character < 0x20   ? kLowGlyphs[character]
                         : character < 0x7f ? char16_t{character}
                                            : kHighGlyphs[character - 0x7f];
  const auto put = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (glyph < 0x80) return put(glyph);
  if (glyph < 0x800) {
    put(0xc0u | glyph >> 6);
  } else {
    put(0xe0u | glyph >> 12);
    put(0x80u | (glyph >> 6 & 0x3f));
  }
  put(0x80u | (glyph & 0x3f));
}

}  // namespace

std::string text_rows(unsigned columns, unsigned rows,
                      const std::function<uint8_t(unsigned cell)>& character) {
  std::string text, blank_lines;
  for (unsigned row = 0; row < rows; ++row) {
    std::string line, blanks;
    for (unsigned column = 0; column < columns; ++column) {
      const uint8_t code = character(row * columns + column);
      if (code == kBlank || code == 0 || code == 0xff) {
        blanks += ' ';
        continue;
      }
      line += blanks;
      blanks.clear();
      append_glyph(line, code);
    }
    blank_lines += '\n';
    if (line.empty()) continue;
    blank_lines.pop_back();
    text += blank_lines + line + '\n';
    blank_lines.clear();
  }
  return text;
}

}  // namespace nestor::emu
