// SPDX-License-Identifier: GPL-2.0-or-later
//
// SIGINT and SIGTERM.
#pragma once

#include <array>
#include <csignal>

namespace nestor::emu {

// From now on they end the process at once, with one line and the status 128 + the signal.
void end_at_signals();

// While it lives, they end a run in order, so that buffered output is not lost. A second one ends
// the process at once.
class OrderlyStop {
 public:
  OrderlyStop();
  ~OrderlyStop();
  OrderlyStop(const OrderlyStop&) = delete;
  OrderlyStop& operator=(const OrderlyStop&) = delete;

  bool requested() const { return signal() != 0; }
  int signal() const;  // 0: none came

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace nestor::emu
