// SPDX-License-Identifier: GPL-2.0-or-later
//
// The PCI bus 0 and the ways to its configuration space: ports, CF8H and CFCH in a PC, as
// configuration mechanism 1 of the PCI Local Bus Specification 3.0 has it, and memory, as the
// enhanced mechanism of PCI Express does. What is not there reads as ones. At the second byte of
// the first is the reset control register of the south bridge, CF9H: 82371FB (PIIX) and 82371SB
// (PIIX3) data sheet, "RC - Reset Control Register".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "emu/devices/pci/function.h"

namespace nestor::emu {

class PciHost : public Device {
 public:
  static constexpr unsigned kSlots = 32;           // device numbers
  static constexpr unsigned kFunctionsOfSlot = 8;  // function numbers
  static constexpr Region kRegions[] = {
      {Space::kPorts, 4},         // the address; accesses of 32 bits alone are to it
      {Space::kPorts, 4},         // the data
      {Space::kMemory, 1 << 20},  // 4 KiB a function, of 8 functions a slot
  };

  // `reset`: the guest resets the processor.
  explicit PciHost(std::function<void()> reset = {}) : reset_(std::move(reset)) {}

  // Function `number` of a slot; its function 0 comes first. Throws std::logic_error when it is
  // taken.
  void add(unsigned slot, std::unique_ptr<PciFunction> function, unsigned number = 0);

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  // A load places the functions where nothing else is: the other devices are in their places.
  void serialize(Archive& archive) override;

 private:
  struct State {
    uint32_t address = 0;
    uint8_t reset_control = 0;
    void fields(Archive& archive) { archive(address, reset_control); }
  };

  void write_reset_control(uint8_t value);
  PciFunction* addressed() const;
  PciFunction* mapped(uint64_t offset) const;
  void write_configuration(PciFunction& function, unsigned offset, unsigned size, uint32_t value);
  void place_functions();

  std::array<std::unique_ptr<PciFunction>, kSlots * kFunctionsOfSlot> functions_;
  const std::function<void()> reset_;
  State state_;
};

}  // namespace nestor::emu
