// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace nestor::emu {

// A key that is pressed and released, and the keys that are held meanwhile. Keys are known by their
// codes in scan code set 1: IBM PS/2 Technical Reference, "Keyboard", "Scan Code Set 1".
struct KeyStroke {
  uint8_t code;           // 1 to 7FH
  bool extended = false;  // E0H comes before it
  bool shift = false, control = false;
  bool operator==(const KeyStroke&) const = default;
};

// What is typed on a keyboard.
struct KeyInput {
  std::function<std::optional<KeyStroke>()> next{};  // empty: nothing ever comes
  bool live = false;                                 // one may come later when there was none
};

}  // namespace nestor::emu
