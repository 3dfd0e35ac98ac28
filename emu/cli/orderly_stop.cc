// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/orderly_stop.h"

#include <unistd.h>

#include <cstddef>
#include <string_view>

#include "emu/cli/raw_terminal.h"

namespace nestor::emu {
namespace {

volatile std::sig_atomic_t stop_signal = 0;

void remember_signal(int signal) {
  if (stop_signal == 0) {
    stop_signal = signal;
  } else if (signal != SIGHUP) {
    give_terminal_back();
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // comes when this handler returns
  }
}

void end_now(int signal) {
  constexpr std::string_view kLine = "nestor: interrupted\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kLine.data(), kLine.size());
  ::_exit(128 + signal);
}

}  // namespace

void end_at_signals() {
  std::signal(SIGINT, end_now);
  std::signal(SIGTERM, end_now);
}

OrderlyStop::OrderlyStop() {
  stop_signal = 0;
  struct sigaction action {};
  action.sa_handler = remember_signal;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &action, &before_[i]);
    // As nohup has it.
    if (kSignals[i] == SIGHUP && before_[i].sa_handler == SIG_IGN)
      ::sigaction(SIGHUP, &before_[i], nullptr);
  }
}

OrderlyStop::~OrderlyStop() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
}

int OrderlyStop::signal() const { return stop_signal; }

}  // namespace nestor::emu
