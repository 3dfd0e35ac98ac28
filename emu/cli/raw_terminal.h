// SPDX-License-Identifier: GPL-2.0-or-later
//
// The terminal as long as its keys are the guest's.
#pragma once

#include <array>
#include <csignal>

namespace nestor::emu {

// Is there at most once. While it lives the terminal on the standard input hands on each key as it
// is, but for the time in which this process has stopped or is in the background: then the terminal
// is as it was before. A signal that ends the process gives it back, too.
class RawTerminal {
 public:
  // Whether the standard input is a terminal that controls this process.
  static bool is_there();
  // Whether it may be read from: another job has it else.
  static bool in_foreground();

  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  // Whether a key can be read now. Takes the terminal again if the process was in the background.
  bool available();

 private:
  // What ends a process, apart from what OrderlyStop handles.
  static constexpr std::array kFatal = {SIGABRT, SIGALRM, SIGBUS, SIGFPE,    SIGILL,
                                        SIGPROF, SIGSEGV, SIGSYS, SIGTRAP,   SIGUSR1,
                                        SIGUSR2, SIGIO,   SIGPWR, SIGVTALRM, SIGXCPU};
  std::array<struct sigaction, kFatal.size()> fatal_before_{};
  struct sigaction stop_before_ {
  }, continue_before_{};
};

// For signal handlers: gives the terminal back, if it was taken.
void give_terminal_back();

}  // namespace nestor::emu
