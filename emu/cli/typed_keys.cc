// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/typed_keys.h"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace nestor::emu {
namespace {

constexpr uint8_t kEscapeCharacter = 0x1b, kDelete = 0x7f;
constexpr uint8_t kEscapeKey = 0x01, kBackspace = 0x0e, kTab = 0x0f, kEnter = 0x1c, kSpace = 0x39;

// Keys that stand in a row, with and without Shift, from a code of set 1 on.
struct Row {
  uint8_t first;
  std::string_view plain, shifted;
};
constexpr Row kRows[] = {
    {0x02, "1234567890-=", "!@#$%^&*()_+"},
    {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
};

// What follows the escape character: xterm, "PC-Style Function Keys", and what linux and rxvt have
// instead.
struct Sequence {
  std::string_view text;
  KeyStroke stroke;
};
constexpr KeyStroke grey(uint8_t code) { return {.code = code, .extended = true}; }
constexpr Sequence kSequences[] = {
    {"[A", grey(0x48)},
    {"[B", grey(0x50)},
    {"[C", grey(0x4d)},
    {"[D", grey(0x4b)},
    {"OA", grey(0x48)},
    {"OB", grey(0x50)},
    {"OC", grey(0x4d)},
    {"OD", grey(0x4b)},
    {"[H", grey(0x47)},
    {"[F", grey(0x4f)},
    {"OH", grey(0x47)},
    {"OF", grey(0x4f)},
    {"[1~", grey(0x47)},
    {"[2~", grey(0x52)},
    {"[3~", grey(0x53)},
    {"[4~", grey(0x4f)},
    {"[5~", grey(0x49)},
    {"[6~", grey(0x51)},
    {"[7~", grey(0x47)},
    {"[8~", grey(0x4f)},
    {"OP", {.code = 0x3b}},
    {"OQ", {.code = 0x3c}},
    {"OR", {.code = 0x3d}},
    {"OS", {.code = 0x3e}},
    {"[11~", {.code = 0x3b}},
    {"[12~", {.code = 0x3c}},
    {"[13~", {.code = 0x3d}},
    {"[14~", {.code = 0x3e}},
    {"[15~", {.code = 0x3f}},
    {"[17~", {.code = 0x40}},
    {"[18~", {.code = 0x41}},
    {"[19~", {.code = 0x42}},
    {"[20~", {.code = 0x43}},
    {"[21~", {.code = 0x44}},
    {"[23~", {.code = 0x57}},
    {"[24~", {.code = 0x58}},
    {"[Z", {.code = kTab, .shift = true}},
};
constexpr size_t kLongest = 16;

std::optional<KeyStroke> stroke_of(uint8_t byte) {
  const char character = static_cast<char>(byte);
  for (const auto& [first, plain, shifted] : kRows) {
    for (const bool shift : {false, true}) {
      const size_t at = (shift ? shifted : plain).find(character);
      if (at != std::string_view::npos)
        return KeyStroke{.code = static_cast<uint8_t>(first + at), .shift = shift};
    }
  }
  return std::nullopt;
}

std::optional<KeyStroke> control_of(uint8_t byte) {
  switch (byte) {
    case '\r':
    case '\n':
      return KeyStroke{.code = kEnter};
    case '\t':
      return KeyStroke{.code = kTab};
    case '\b':
      return KeyStroke{.code = kBackspace};
    default:
      break;
  }
  // NUL is what terminals send for Ctrl and the space bar.
  if (byte == 0) return KeyStroke{.code = kSpace, .control = true};
  const auto letter = static_cast<uint8_t>(byte <= 26 ? byte + 'a' - 1 : byte + '@');
  auto stroke = stroke_of(letter);
  if (stroke) stroke->control = true;
  return stroke;
}

}  // namespace

std::optional<uint8_t> TypedKeys::next_byte() {
  if (put_back_) return std::exchange(put_back_, std::nullopt);
  return next_();
}

std::optional<KeyStroke> TypedKeys::next() {
  while (const auto byte = next_byte()) {
    std::optional<KeyStroke> stroke;
    if (*byte == kEscapeCharacter) {
      stroke = escape();
    } else if (*byte == kDelete) {
      stroke = KeyStroke{.code = kBackspace};
    } else if (*byte == ' ') {
      stroke = KeyStroke{.code = kSpace};
    } else {
      stroke = *byte < ' ' ? control_of(*byte) : stroke_of(*byte);
    }
    if (stroke) return stroke;
  }
  return std::nullopt;
}

// nullopt: of a sequence that no key sends.
std::optional<KeyStroke> TypedKeys::escape() {
  const auto second = next_byte();
  if (!second) return KeyStroke{.code = kEscapeKey};
  if (*second == '[' || *second == 'O') return sequence(std::string(1, static_cast<char>(*second)));
  put_back_ = second;
  return KeyStroke{.code = kEscapeKey};
}

// ECMA-48, "Control sequences": parameters, and then a byte from @ to ~ that ends it.
std::optional<KeyStroke> TypedKeys::sequence(std::string text) {
  bool ended = false;
  while (!ended && text.size() < kLongest) {
    const auto byte = next_byte();
    if (!byte) break;
    text += static_cast<char>(*byte);
    ended = *byte >= '@' && *byte <= '~';
  }
  const auto* const found = std::ranges::find(kSequences, text, &Sequence::text);
  if (found == std::end(kSequences)) return std::nullopt;
  return found->stroke;
}

}  // namespace nestor::emu
