// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that writes to registers and memory of an AHCI controller at random, beside commands that
// are right, nearly right and wrong, to a CD drive and to a hard disk.
#pragma once

#include <iterator>
#include <stdexcept>

#include "tests/emu/devices/ahci_driver.h"

namespace nestor::emu::test {

class RandomAhciGuest {
 public:
  // The file is the disc, and the content of the disk, which is not written.
  RandomAhciGuest(uint64_t seed, const std::string& file)
      : driver_(AhciDriver::with_disk(AhciDriver::cd(file), kDiskPort, DiskConfig{file})),
        random_(seed) {
    start();
  }

  // Throws std::logic_error when the machine does what it must not.
  void step() {
    PciMachine& machine = driver_.machine;
    if (next(50) == 0) start();
    if (next(3) == 0) write(port(), 0x80);
    if (next(20) == 0) write(AhciDriver::kBar, 0x40);
    const auto slot = static_cast<unsigned>(next(4));
    if (of_disk_) {
      put_disk_command(slot);
    } else {
      put_packet(slot);
    }
    if (next(20) == 0) machine.memory.put(AhciDriver::kList + next(128), number(), 4);
    if (next(2) == 0) driver_.set(port() + 0x34, 1u << slot);
    driver_.set(port() + 0x38, 1u << slot);
    machine.pass(next(2) == 0 ? 10'000'000 : next(1000));
    if (machine.bus.deadline() <= machine.clock.cycles())
      throw std::logic_error("something stays due");
    if ((driver_.get(port() + 0x10) & 3u << 29) != 0) {
      ++errors;
      if (next(4) == 0) restart();
    }
    if ((driver_.get(port() + 0x38) >> slot & 1) == 0) ++(of_disk_ ? disk_done : done);
    machine.messages.clear();
  }

  uint64_t errors = 0, done = 0, disk_done = 0;

 private:
  static constexpr unsigned kDiskPort = 2;

  uint64_t next(uint64_t bound) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return (random_ >> 33) % bound;
  }
  uint64_t number() {
    return next(3) == 0 ? next(1ull << 31) << 33 | next(1ull << 31) << 2 : next(0x10000);
  }
  uint64_t port() const { return driver_.port; }
  // One of the drives; the other one keeps what it has to do.
  void start() {
    of_disk_ = next(3) != 0;
    driver_.port = AhciDriver::kPort + (of_disk_ ? 0x80 * kDiskPort : 0);
    driver_.start();
  }
  // After an error the port stands still.
  void restart() {
    driver_.set(port() + 0x10, ~0u);
    driver_.set(port() + 0x18, 1u << 4);
    driver_.set(port() + 0x18, 1u << 4 | 1);
  }
  void write(uint64_t base, uint64_t bytes) {
    const unsigned size = 1u << next(4);
    const uint64_t address = base + (next(bytes) & ~uint64_t{size - 1});
    driver_.machine.bus.write_memory(address, size, number());
    if (size < 8 && driver_.machine.bus.read_memory(address, size) >> (8 * size) != 0)
      throw std::logic_error("a read is too wide");
  }
  std::vector<AhciDriver::Region> regions() {
    std::vector<AhciDriver::Region> regions;
    for (uint64_t count = next(4); count > 0; --count) {
      regions.push_back({next(10) == 0 ? number() : 0x4000 + next(0x8000),
                         static_cast<uint32_t>(1 + next(next(10) == 0 ? 1 << 22 : 4096))});
    }
    return regions;
  }
  void put_packet(unsigned slot) {
    constexpr uint8_t kOperations[] = {0x00, 0x03, 0x12, 0x25, 0x28, 0x43,
                                       0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbd};
    constexpr uint8_t kCommands[] = {0xa0, 0xa0, 0xa0, 0xa0, 0xa1, 0xef, 0x08, 0xec};
    AhciDriver::Bytes packet(12);
    for (uint8_t& byte : packet) byte = static_cast<uint8_t>(next(3) == 0 ? next(256) : next(4));
    packet[0] =
        next(10) == 0 ? static_cast<uint8_t>(next(256)) : kOperations[next(std::size(kOperations))];
    AhciDriver::Bytes fis = AhciDriver::command_fis(kCommands[next(std::size(kCommands))],
                                                    static_cast<uint8_t>(next(5)));
    if (next(20) == 0) fis[next(4)] = static_cast<uint8_t>(next(256));
    driver_.put_command(slot, fis, packet, regions());
  }
  void put_disk_command(unsigned slot) {
    constexpr uint8_t kCommands[] = {0x20, 0x24, 0x25, 0x29, 0x2f, 0x30, 0x34, 0x35, 0x39, 0x3d,
                                     0x40, 0x42, 0x60, 0x60, 0x61, 0x61, 0x90, 0xa1, 0xc4, 0xc5,
                                     0xc6, 0xc8, 0xca, 0xce, 0xe0, 0xe1, 0xe5, 0xe7, 0xec, 0xef};
    AhciDriver::Bytes fis(20);
    for (uint8_t& byte : fis)
      byte = static_cast<uint8_t>(next(10) == 0 ? next(256) : next(5) == 0 ? next(8) : 0);
    fis[0] = next(50) == 0 ? fis[0] : 0x27;
    fis[1] = next(50) == 0 ? fis[1] : 0x80;
    fis[2] =
        next(10) == 0 ? static_cast<uint8_t>(next(256)) : kCommands[next(std::size(kCommands))];
    fis[3] = static_cast<uint8_t>(next(next(10) == 0 ? 256 : 8));
    fis[4] = static_cast<uint8_t>(next(140));
    fis[12] = static_cast<uint8_t>(next(next(10) == 0 ? 256 : 8));
    fis[7] = static_cast<uint8_t>(fis[7] | (next(8) == 0 ? 0 : 0x40));
    driver_.put_command(slot, fis, {}, regions());
  }

  AhciDriver driver_;
  uint64_t random_;
  bool of_disk_ = false;
};

}  // namespace nestor::emu::test
