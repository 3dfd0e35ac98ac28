// SPDX-License-Identifier: GPL-2.0-or-later
//
// An AHCI controller with drives on a PCI bus, and what a driver does with one of them.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "emu/devices/ata/ahci.h"
#include "emu/devices/ata/cd_drive.h"
#include "emu/devices/ata/hard_disk.h"
#include "tests/emu/devices/pci_fixture.h"

namespace nestor::emu::test {

struct AhciDriver {
  using Bytes = std::vector<uint8_t>;
  static constexpr unsigned kSlot = 3;
  static constexpr uint64_t kBar = 0xd0000000, kPort = kBar + 0x100;  // that of port 0
  static constexpr uint64_t kList = 0x1000, kReceived = 0x1800, kTable = 0x2000, kData = 0x4000;

  struct Region {
    uint64_t address;
    uint32_t bytes;
  };

  using Drives = AhciController::Drives;
  // A CD drive at port 0, with its disc in the file.
  static Drives cd(const std::string& path) {
    Drives drives;
    drives[0] = std::make_unique<CdDrive>(std::make_unique<Disk>(DiskConfig{path}));
    return drives;
  }
  static Drives with_disk(Drives drives, unsigned port, const DiskConfig& config) {
    drives.at(port) = std::make_unique<HardDisk>(std::make_unique<Disk>(config), "a-serial-number");
    return drives;
  }

  explicit AhciDriver(Drives drives, unsigned driven = 0) : port(kPort + 0x80 * driven) {
    constexpr PciFunction::Identity kIdentity = {
        .vendor = 1, .device = 2, .revision = 0, .class_code = 0x010601};
    machine.host.add(kSlot, std::make_unique<AhciController>(
                                AhciController::Place{machine.bus, machine.clock, machine.memory,
                                                      machine.lines.source(19), machine.message()},
                                kIdentity, std::move(drives)));
  }

  void start() {
    machine.write(kSlot, 0x24, 4, kBar);
    machine.write(kSlot, 0x04, 2, 0x0006);
    set(kBar + 0x04, 1u << 31 | 2);
    set(port + 0x00, kList), set(port + 0x04, 0);
    set(port + 0x08, kReceived), set(port + 0x0c, 0);
    set(port + 0x14, 0x7dc000ff);
    set(port + 0x18, 1u << 4);
    set(port + 0x18, 1u << 4 | 1);
  }
  uint32_t get(uint64_t address) {
    return static_cast<uint32_t>(machine.bus.read_memory(address, 4));
  }
  void set(uint64_t address, uint64_t value) { machine.bus.write_memory(address, 4, value); }

  void put_command(unsigned slot, const Bytes& fis, const Bytes& packet,
                   const std::vector<Region>& regions) {
    FakeMemory& memory = machine.memory;
    const uint64_t table = kTable + slot * 0x100;
    memory.put(kList + 32 * slot, 5 | 1u << 5 | uint64_t{regions.size()} << 16, 8);
    memory.put(kList + 32 * slot + 8, table, 8);
    for (size_t i = 0; i < 0x80; ++i) memory.bytes[table + i] = 0;
    std::ranges::copy(fis, memory.bytes.begin() + static_cast<std::ptrdiff_t>(table));
    std::ranges::copy(packet, memory.bytes.begin() + static_cast<std::ptrdiff_t>(table + 0x40));
    for (size_t i = 0; i < regions.size(); ++i) {
      memory.put(table + 0x80 + 16 * i, regions[i].address, 8);
      memory.put(table + 0x88 + 16 * i, uint64_t{regions[i].bytes - 1} << 32, 8);
    }
  }
  static Bytes command_fis(uint8_t command, uint8_t features = 1) {
    return {0x27, 0x80, command, features};
  }

  uint64_t port;  // where its registers are
  PciMachine machine;
};

}  // namespace nestor::emu::test
