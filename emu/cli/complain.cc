// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/complain.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

namespace nestor::emu {
namespace {

std::string_view program_name = "nestor";

}  // namespace

void complain_as(std::string_view program) { program_name = program; }

int complain(ExitStatus status, std::string message) {
  std::ranges::replace_if(
      message, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  fmt::print(stderr, "{}: {}\n", program_name, message);
  return static_cast<int>(status);
}

}  // namespace nestor::emu
