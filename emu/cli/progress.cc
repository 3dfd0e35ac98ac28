// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/progress.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace nestor::emu {
namespace {

constexpr std::chrono::milliseconds kFirst{2000}, kInterval{250};

void print(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(uint64_t max_instructions)
    : max_instructions_(max_instructions),
      terminal_(::isatty(STDERR_FILENO) != 0),
      next_(start_ + kFirst) {}

void Progress::update(uint64_t instructions) {
  if (!terminal_) return;
  const Time::time_point now = Time::now();
  if (now < next_) return;
  next_ = now + kInterval;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double millions = static_cast<double>(instructions) / 1e6;
  std::string line = fmt::format("\r{:.0f} s, {:.0f} million instructions, {:.0f} MIPS", seconds,
                                 millions, millions / seconds);
  if (max_instructions_ != 0) {
    line += fmt::format(", {:.0f} %", 100.0 * static_cast<double>(instructions) /
                                          static_cast<double>(max_instructions_));
  }
  print(line + "\033[K");
  visible_ = true;
}

void Progress::clear() {
  if (!visible_) return;
  visible_ = false;
  print("\r\033[K");
}

}  // namespace nestor::emu
