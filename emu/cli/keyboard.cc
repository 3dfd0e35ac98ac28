// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/keyboard.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <string_view>
#include <utility>

#include "emu/cli/complain.h"

namespace nestor::emu {
namespace {

constexpr char kEscape = 'A' - '@';
constexpr std::string_view kHelp =
    "nestor: the keyboard is the guest's; Ctrl-A X ends the run, Ctrl-A C says where each "
    "processor is, Ctrl-A S shows the screen, Ctrl-A Ctrl-A sends Ctrl-A\n";

bool has_key() {
  pollfd descriptor{STDIN_FILENO, POLLIN, 0};
  return ::poll(&descriptor, 1, 0) > 0;
}

}  // namespace

bool Keyboard::take_over() {
  // Not before the user has brought this process to the foreground.
  if (!terminal_ && !RawTerminal::in_foreground()) return false;
  const bool first = !terminal_;
  if (first) terminal_.emplace();
  if (!terminal_->available()) return false;
  if (first) {
    commands_.note();
    tell(kHelp);
  }
  return true;
}

std::optional<uint8_t> Keyboard::next() {
  if (ended_ || !take_over()) return std::nullopt;
  while (!ended_ && has_key()) {
    char key = 0;
    if (::read(STDIN_FILENO, &key, 1) != 1) {
      ended_ = true;
      break;
    }
    if (std::exchange(escaped_, false)) {
      if (const auto sent = command(key)) return sent;
    } else if (key == kEscape) {
      escaped_ = true;
    } else {
      return static_cast<uint8_t>(key);
    }
  }
  return std::nullopt;
}

std::optional<uint8_t> Keyboard::command(char key) {
  switch (key) {
    case 'x':
    case 'X':
      std::raise(SIGINT);
      return std::nullopt;
    case 'c':
    case 'C':
      commands_.show_places();
      return std::nullopt;
    case 's':
    case 'S':
      commands_.show_screen();
      return std::nullopt;
    case 'a':
    case kEscape:
      return static_cast<uint8_t>(kEscape);
    default:
      commands_.note();
      tell(kHelp);
      return std::nullopt;
  }
}

}  // namespace nestor::emu
