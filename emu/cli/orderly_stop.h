// SPDX-License-Identifier: GPL-2.0-or-later
//
// The signals that end a run.
#pragma once

#include <array>
#include <csignal>

namespace nestor::emu {

// From now on SIGINT and SIGTERM end the process at once, with one line and the status 128 + the
// signal.
void end_at_signals();

// While it lives, the signals that users send and that of a terminal that was closed end a run in
// order, so that buffered output is not lost. A second one ends the process at once, but for
// SIGHUP, which comes from the kernel and from the shell.
class OrderlyStop {
 public:
  OrderlyStop();
  ~OrderlyStop();
  OrderlyStop(const OrderlyStop&) = delete;
  OrderlyStop& operator=(const OrderlyStop&) = delete;

  bool requested() const { return signal() != 0; }
  int signal() const;  // 0: none came

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace nestor::emu
