// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random accesses to the registers of each device of the PC:
//
//   device_fuzz [ACCESSES [SEED [DEVICE]]]
//
// ACCESSES are made to each device, or to the one that is named as its row of the board. Ten times
// in a run the machine is saved and loaded into another one, and both must go on alike. What is
// saved must not grow.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/emu/devices/random_device_guest.h"
#include "tests/fuzz/arguments.h"

namespace {

using nestor::emu::Archive;
using nestor::emu::test::RandomDeviceGuest;
using nestor::emu::testing::parse_number;

// Another guest goes on from the saved state as this one does.
void check_saved_state(RandomDeviceGuest& guest, uint64_t seed, std::string_view device) {
  const std::vector<uint8_t> bytes = guest.saved();
  RandomDeviceGuest other(seed + 1, device);
  for (int i = 0; i < 100; ++i) other.step();  // nothing of this is left
  if (!nestor::emu::load_bytes(bytes, [&](Archive& archive) { other.serialize(archive); }))
    throw std::logic_error("the saved state is refused");
  if (other.saved() != bytes) throw std::logic_error("the saved state is not what was saved");
  for (int i = 0; i < 1000; ++i) {
    if (guest.step() != other.step()) throw std::logic_error("the loaded one does something else");
  }
  if (other.saved() != guest.saved()) throw std::logic_error("the loaded one became another");
}

void fuzz(uint64_t accesses, uint64_t seed, std::string_view device) {
  RandomDeviceGuest guest(seed, device);
  constexpr uint64_t kRounds = 10, kGrowth = 4096;
  uint64_t step = 0, smallest = guest.saved().size(), largest = smallest;
  try {
    for (uint64_t round = 1; round <= kRounds; ++round) {
      for (; step < accesses * round / kRounds; ++step) guest.step();
      check_saved_state(guest, seed, device);
      largest = std::max<uint64_t>(largest, guest.saved().size());
    }
    if (largest > smallest + kGrowth) throw std::logic_error("what is saved grows");
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string(device) + ", seed " + std::to_string(seed) +
                             ", after step " + std::to_string(step) + ": " + error.what());
  }
  std::printf("%.*s: %" PRIu64 " accesses, %" PRIu64 " interrupts taken, %" PRIu64
              " bytes saved at most\n",
              static_cast<int>(device.size()), device.data(), step, guest.taken, largest);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t accesses = 20'000, seed = 1;
  const auto all = RandomDeviceGuest::device_names();
  std::vector<std::string_view> devices = all;
  if (argc > 3) devices = {argv[3]};
  if (argc > 4 || (argc > 1 && !parse_number(argv[1], accesses)) ||
      (argc > 2 && !parse_number(argv[2], seed)) ||
      std::ranges::find(all, devices[0]) == all.end()) {
    std::fputs("usage: device_fuzz [ACCESSES [SEED [DEVICE]]], with one of the devices\n", stderr);
    for (const std::string_view name : all)
      std::fprintf(stderr, "  %.*s\n", static_cast<int>(name.size()), name.data());
    return 2;
  }
  try {
    for (const std::string_view device : devices) fuzz(accesses, seed, device);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_fuzz: %s\n", error.what());
    return 1;
  }
  return 0;
}
