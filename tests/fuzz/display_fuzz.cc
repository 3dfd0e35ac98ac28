// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random accesses to the standard VGA, and looks at its screen:
//
//   display_fuzz [ACCESSES [SEED]]
#include <cinttypes>
#include <cstdio>
#include <exception>

#include "tests/emu/devices/random_display_guest.h"
#include "tests/fuzz/arguments.h"

int main(int argc, char** argv) {
  using nestor::emu::testing::parse_number;
  uint64_t accesses = 20'000, seed = 1;
  if (argc > 3 || (argc > 1 && !parse_number(argv[1], accesses)) ||
      (argc > 2 && !parse_number(argv[2], seed))) {
    std::fputs("usage: display_fuzz [ACCESSES [SEED]]\n", stderr);
    return 2;
  }
  nestor::emu::test::RandomDisplayGuest guest(seed);
  for (uint64_t i = 0; i < accesses; ++i) {
    try {
      guest.step();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "display_fuzz: seed %" PRIu64 ", step %" PRIu64 ": %s\n", seed, i,
                   error.what());
      return 1;
    }
  }
  std::printf("%" PRIu64 " steps: %" PRIu64 " pictures, %" PRIu64 " texts, %" PRIu64
              " graphics modes\n",
              accesses, guest.pictures, guest.texts, guest.graphics);
  return 0;
}
