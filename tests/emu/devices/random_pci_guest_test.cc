// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/devices/random_pci_guest.h"

#include "tests/emu/devices/disk_file.h"

namespace nestor::emu {
namespace {

TEST(RandomPciGuestTest, NothingThatItDoesGoesWrong) {
  const test::DiskFile file(std::vector<uint8_t>(16 * 4096, 0x5a));
  test::RandomPciGuest guest(1, file.path);
  for (unsigned i = 0; i < 100'000; ++i) ASSERT_NO_THROW(guest.step()) << i;
  EXPECT_GT(guest.served, 10'000u);
  EXPECT_GT(guest.broken, 100u);
  EXPECT_GT(guest.refused, 100u);
  EXPECT_EQ(file.content(), std::vector<uint8_t>(16 * 4096, 0x5a));
}

TEST(RandomPciGuestTest, ItsMachineGoesOnFromItsSavedState) {
  const test::DiskFile file(std::vector<uint8_t>(16 * 4096, 0x5a));
  test::RandomPciGuest guest(2, file.path), other(3, file.path);
  for (unsigned round = 0; round < 30; ++round) {
    for (unsigned i = 0; i < 500; ++i) {
      guest.step();
      other.step();
    }
    const std::vector<uint8_t> bytes = guest.saved();
    ASSERT_TRUE(load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); })) << round;
    ASSERT_EQ(other.saved(), bytes) << round;
    for (test::RandomPciGuest* each : {&guest, &other}) {
      each->machine.pass(1'000'000);
      each->machine.pass(1'000'000);
    }
    ASSERT_EQ(other.saved(), guest.saved()) << round;
  }
}

}  // namespace
}  // namespace nestor::emu
