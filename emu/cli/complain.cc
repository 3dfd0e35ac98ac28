// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/complain.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

namespace nestor::emu {

int complain(ExitStatus status, std::string message) {
  std::ranges::replace_if(
      message, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  fmt::print(stderr, "nestor: {}\n", message);
  return static_cast<int>(status);
}

}  // namespace nestor::emu
