// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random accesses to PCI configuration space, base address registers, virtio's rings, and the
// commands of AHCI:
//
//   pci_fuzz [ACCESSES [SEED]]
#include <cinttypes>
#include <cstdio>
#include <exception>

#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/random_ahci_guest.h"
#include "tests/emu/devices/random_pci_guest.h"
#include "tests/fuzz/arguments.h"

int main(int argc, char** argv) {
  using nestor::emu::testing::parse_number;
  uint64_t accesses = 20'000, seed = 1;
  if (argc > 3 || (argc > 1 && !parse_number(argv[1], accesses)) ||
      (argc > 2 && !parse_number(argv[2], seed))) {
    std::fputs("usage: pci_fuzz [ACCESSES [SEED]]\n", stderr);
    return 2;
  }
  const nestor::emu::test::DiskFile file(std::vector<uint8_t>(16 * 4096, 0x5a));
  nestor::emu::test::RandomPciGuest guest(seed, file.path);
  nestor::emu::test::RandomAhciGuest ahci(seed, file.path);
  for (uint64_t i = 0; i < accesses; ++i) {
    try {
      guest.step();
      ahci.step();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "pci_fuzz: seed %" PRIu64 ", step %" PRIu64 ": %s\n", seed, i,
                   error.what());
      return 1;
    }
  }
  std::printf("%" PRIu64 " steps: %" PRIu64 " requests served, %" PRIu64 " resets needed; %" PRIu64
              " commands of a CD drive and %" PRIu64 " of a disk done, %" PRIu64 " errors\n",
              accesses, guest.served, guest.broken, ahci.done, ahci.disk_done, ahci.errors);
  return 0;
}
