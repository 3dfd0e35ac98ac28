// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a display shows, for who looks at the machine from outside. Looking changes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace nestor::emu {

// Dots from the top left one on, row by row: red, green and blue, a byte each.
struct Picture {
  unsigned width = 0, height = 0;
  std::vector<uint8_t> dots{};
};

// There is a picture alone: so many dots.
struct GraphicsMode {
  unsigned width, height;
};

// Why there is no picture: what there is, for the middle of a sentence.
struct NoPicture {
  std::string reason;
};

class Screen {
 public:
  virtual ~Screen() = default;
  // A text mode, as UTF-8: a line for each row down to the last that is not blank, without blanks
  // at its end.
  virtual std::variant<std::string, GraphicsMode> text() const = 0;
  // In text modes with the characters as the guest has drawn them.
  virtual std::variant<Picture, NoPicture> picture() const = 0;
};

}  // namespace nestor::emu
