// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/typed_keys.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {
namespace {

std::vector<KeyStroke> strokes_of(std::string_view bytes) {
  size_t at = 0;
  TypedKeys keys([&]() -> std::optional<uint8_t> {
    if (at == bytes.size()) return std::nullopt;
    return static_cast<uint8_t>(bytes[at++]);
  });
  std::vector<KeyStroke> strokes;
  while (const auto stroke = keys.next()) strokes.push_back(*stroke);
  return strokes;
}

KeyStroke stroke_of(std::string_view bytes) {
  const auto strokes = strokes_of(bytes);
  EXPECT_EQ(strokes.size(), 1u) << bytes;
  return strokes.empty() ? KeyStroke{} : strokes.front();
}

TEST(TypedKeys, CharactersAreThoseOfAUsLayout) {
  EXPECT_EQ(stroke_of("a"), (KeyStroke{.code = 0x1e}));
  EXPECT_EQ(stroke_of("A"), (KeyStroke{.code = 0x1e, .shift = true}));
  EXPECT_EQ(stroke_of("0"), (KeyStroke{.code = 0x0b}));
  EXPECT_EQ(stroke_of("="), (KeyStroke{.code = 0x0d}));
  EXPECT_EQ(stroke_of("}"), (KeyStroke{.code = 0x1b, .shift = true}));
  EXPECT_EQ(stroke_of("`"), (KeyStroke{.code = 0x29}));
  EXPECT_EQ(stroke_of("|"), (KeyStroke{.code = 0x2b, .shift = true}));
  EXPECT_EQ(stroke_of("/"), (KeyStroke{.code = 0x35}));
  EXPECT_EQ(stroke_of(" "), (KeyStroke{.code = 0x39}));
  // Each printable one is a key of its own.
  for (char c = ' '; c <= '~'; ++c) {
    for (char other = ' '; other < c; ++other)
      EXPECT_NE(stroke_of({&c, 1}), stroke_of({&other, 1})) << c << other;
  }
}

TEST(TypedKeys, ControlCharactersAreKeysOrCtrlAndALetter) {
  EXPECT_EQ(stroke_of("\r"), (KeyStroke{.code = 0x1c}));
  EXPECT_EQ(stroke_of("\n"), (KeyStroke{.code = 0x1c}));
  EXPECT_EQ(stroke_of("\t"), (KeyStroke{.code = 0x0f}));
  EXPECT_EQ(stroke_of("\b"), (KeyStroke{.code = 0x0e}));
  EXPECT_EQ(stroke_of("\x7f"), (KeyStroke{.code = 0x0e}));
  EXPECT_EQ(stroke_of("\x03"), (KeyStroke{.code = 0x2e, .control = true}));
  EXPECT_EQ(stroke_of("\x18"), (KeyStroke{.code = 0x2d, .control = true}));
  EXPECT_EQ(stroke_of("\x1c"), (KeyStroke{.code = 0x2b, .control = true}));
  EXPECT_EQ(stroke_of(std::string_view("\0", 1)), (KeyStroke{.code = 0x39, .control = true}));
}

TEST(TypedKeys, SequencesAreKeys) {
  EXPECT_EQ(stroke_of("\x1b[A"), (KeyStroke{.code = 0x48, .extended = true}));
  EXPECT_EQ(stroke_of("\x1bOB"), (KeyStroke{.code = 0x50, .extended = true}));
  EXPECT_EQ(stroke_of("\x1b[3~"), (KeyStroke{.code = 0x53, .extended = true}));
  EXPECT_EQ(stroke_of("\x1bOP"), (KeyStroke{.code = 0x3b}));
  EXPECT_EQ(stroke_of("\x1b[24~"), (KeyStroke{.code = 0x58}));
  EXPECT_EQ(stroke_of("\x1b[Z"), (KeyStroke{.code = 0x0f, .shift = true}));
  EXPECT_EQ(stroke_of("\x1b"), (KeyStroke{.code = 0x01}));
  EXPECT_EQ(strokes_of("\x1b"
                       "a"),
            (std::vector<KeyStroke>{{.code = 0x01}, {.code = 0x1e}}));
  EXPECT_EQ(strokes_of("\x1b\x1b[A"),
            (std::vector<KeyStroke>{{.code = 0x01}, {.code = 0x48, .extended = true}}));
}

TEST(TypedKeys, WhatNoKeyStandsForIsPassedOver) {
  EXPECT_EQ(stroke_of("\xc3\xa4z"), (KeyStroke{.code = 0x2c}));
  EXPECT_EQ(stroke_of("\x1b[1;5Az"), (KeyStroke{.code = 0x2c}));
  EXPECT_TRUE(strokes_of("\x1b[").empty());
  EXPECT_TRUE(strokes_of("\x1b[99~").empty());
  // It is no sequence any more.
  EXPECT_FALSE(strokes_of("\x1b[" + std::string(100, '1')).empty());
}

}  // namespace
}  // namespace nestor::emu
