// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a terminal sends, as strokes on a keyboard with a US layout: characters, Ctrl and a letter,
// and the sequences of xterm for arrows, function keys and the block above them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "emu/devices/legacy/key_stroke.h"

namespace nestor::emu {

class TypedKeys {
 public:
  // `next`: a byte, if there is one now.
  explicit TypedKeys(std::function<std::optional<uint8_t>()> next) : next_(std::move(next)) {}

  // The next stroke. What no key stands for is passed over. An escape character is the key Esc
  // where no sequence follows it at once.
  std::optional<KeyStroke> next();

 private:
  std::optional<uint8_t> next_byte();
  std::optional<KeyStroke> escape();
  std::optional<KeyStroke> sequence(std::string text);

  const std::function<std::optional<uint8_t>()> next_;
  std::optional<uint8_t> put_back_;
};

}  // namespace nestor::emu
