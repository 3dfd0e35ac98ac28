// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the user types goes to the guest's serial port, from the moment on when the guest listens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "emu/cli/raw_terminal.h"

namespace nestor::emu {

class Keyboard {
 public:
  struct Commands {
    std::function<void()> show_places;  // Ctrl-A C
    std::function<void()> show_screen;  // Ctrl-A S
    std::function<void()> note;         // before a line is written to the standard error
  };

  // Whether the standard input is a terminal that this process may read from, now or later.
  static bool is_there() { return RawTerminal::is_there(); }

  explicit Keyboard(Commands commands) : commands_(std::move(commands)) {}
  Keyboard(const Keyboard&) = delete;
  Keyboard& operator=(const Keyboard&) = delete;

  // The next byte for the guest. The first call in the foreground takes the terminal over: from
  // then on it hands on each key as it is, but for Ctrl-A, which begins a command. Ctrl-A X is
  // SIGINT.
  std::optional<uint8_t> next();
  // It is the guest's.
  bool in_use() const { return terminal_ && RawTerminal::in_foreground(); }

 private:
  // Whether the terminal is there to be read.
  bool take_over();
  // What the guest gets after Ctrl-A and this key.
  std::optional<uint8_t> command(char key);

  const Commands commands_;
  std::optional<RawTerminal> terminal_;
  bool escaped_ = false, ended_ = false;
};

}  // namespace nestor::emu
