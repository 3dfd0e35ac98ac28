// SPDX-License-Identifier: GPL-2.0-or-later
//
// A host bus adapter with a drive behind each of its ports: Serial ATA AHCI 1.3.1. There is no port
// multiplier and no hot plug.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "emu/devices/ata/ahci_port.h"
#include "emu/devices/ata/drive.h"
#include "emu/devices/device_memory.h"
#include "emu/devices/pci/function.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class AhciController final : public PciFunction {
 public:
  static constexpr uint64_t kRegisterBytes = 0x1000;  // behind base address register 5
  static constexpr unsigned kPorts = 6;
  // What is behind each port. One without a drive is not there.
  using Drives = std::array<std::unique_ptr<AtaDrive>, kPorts>;

  struct Place {
    Bus& bus;
    const Clock& clock;
    DeviceMemory& memory;
    InterruptSource interrupt;
    std::function<void(const Ipi&)> message;  // of MSI
  };

  AhciController(Place place, const Identity& identity, Drives drives);

  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

 private:
  struct State {
    uint32_t control = 0, pending = 0;  // GHC; IS
    void fields(Archive& archive) { archive(control, pending); }
  };

  uint32_t read_register(uint64_t offset) const;
  void write_register(uint64_t offset, uint32_t value);
  void reset();
  void take_causes();
  void update_interrupt();

  std::array<std::unique_ptr<AhciPort>, kPorts> ports_;
  uint32_t capabilities_, implemented_ = 0;  // CAP; PI
  State state_;
};

}  // namespace nestor::emu
