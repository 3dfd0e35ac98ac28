// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/raw_terminal.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace nestor::emu {
namespace {

// For the signal handlers. The modes change only while the terminal is not taken.
termios modes_before{}, raw_modes{};
volatile std::sig_atomic_t taken = 0;

// Where another job has the terminal, setting its modes would stop this process.
void set_modes(const termios& modes) {
  const int error = errno;
  if (taken != 0 && RawTerminal::in_foreground()) ::tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  errno = error;
}

void take_again(int /*signal*/) { set_modes(raw_modes); }

struct sigaction handled_by(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return action;
}

// Ends the process as the signal does: when it is unblocked, at the return.
void end_without_terminal(int signal) {
  set_modes(modes_before);
  std::raise(signal);
}

void stop_without_terminal(int signal) {
  const int error = errno;
  set_modes(modes_before);
  const struct sigaction plain = handled_by(SIG_DFL, 0);
  struct sigaction here {};
  ::sigaction(signal, &plain, &here);
  std::raise(signal);
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, signal);
  ::sigprocmask(SIG_UNBLOCK, &blocked, &before);  // stops here
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::sigaction(signal, &here, nullptr);
  set_modes(raw_modes);
  errno = error;
}

// Unless it is ignored. Returns what was there.
struct sigaction handle_signal(int signal, const struct sigaction& action) {
  struct sigaction before {};
  ::sigaction(signal, nullptr, &before);
  if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  return before;
}

}  // namespace

bool RawTerminal::is_there() {
  return ::isatty(STDIN_FILENO) != 0 && ::tcgetpgrp(STDIN_FILENO) >= 0;
}

bool RawTerminal::in_foreground() { return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp(); }

RawTerminal::RawTerminal() {
  if (::tcgetattr(STDIN_FILENO, &modes_before) != 0) return;
  raw_modes = modes_before;
  // What is written keeps its line ends.
  raw_modes.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INLCR | IGNCR | ISTRIP | IXON);
  raw_modes.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
  taken = 1;
  for (size_t i = 0; i != kFatal.size(); ++i) {
    fatal_before_[i] =
        handle_signal(kFatal[i], handled_by(end_without_terminal, static_cast<int>(SA_RESETHAND)));
  }
  stop_before_ = handle_signal(SIGTSTP, handled_by(stop_without_terminal, SA_RESTART));
  continue_before_ = handle_signal(SIGCONT, handled_by(take_again, SA_RESTART));
}

RawTerminal::~RawTerminal() {
  if (taken == 0) return;
  ::sigaction(SIGCONT, &continue_before_, nullptr);
  ::sigaction(SIGTSTP, &stop_before_, nullptr);
  for (size_t i = 0; i != kFatal.size(); ++i) ::sigaction(kFatal[i], &fatal_before_[i], nullptr);
  give_terminal_back();
  taken = 0;
}

bool RawTerminal::available() {
  if (taken == 0 || !in_foreground()) return false;
  // A shell that has brought this process to the foreground may have set its own modes, and need
  // not send a signal.
  termios now{};
  if (::tcgetattr(STDIN_FILENO, &now) == 0 && (now.c_lflag & ICANON) != 0) set_modes(raw_modes);
  return true;
}

void give_terminal_back() { set_modes(modes_before); }

}  // namespace nestor::emu
