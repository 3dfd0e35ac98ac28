// SPDX-License-Identifier: GPL-2.0-or-later
//
// The power management function of a PC's south bridge, by which firmware finds the registers of
// ACPI and gives them a place: 82371AB (PIIX4) data sheet, "Power Management PCI Configuration
// Registers". The board has them where ACPI says, and they are at that place too. There is no
// system management mode: firmware is told that this has been dealt with.
#pragma once

#include <cstdint>
#include <span>

#include "emu/devices/pci/function.h"

namespace nestor::emu {

class PowerManagementFunction final : public PciFunction {
 public:
  // `base`: the first port of the registers. `placed`: software has placed them there.
  PowerManagementFunction(Bus& bus, const Identity& identity, uint16_t base, bool placed)
      : PciFunction(bus, identity, {}, std::nullopt), alias_(bus, base) {
    set_configuration(kBase, 4, (placed ? base : 0u) | kPorts);
    set_writable(kBase, 2, kBaseBits);
    set_configuration(kDeviceActivityB, 4, kApmSmiEnabled);
    set_configuration(kMiscellaneous, 1, placed ? kPortsEnabled : 0);
    set_writable(kMiscellaneous, 1, kPortsEnabled);
  }

  void serialize(Archive& archive) override {
    PciFunction::serialize(archive);
    if (archive.loads()) place();
  }

 private:
  // The registers at a second place.
  class Alias final : public Device {
   public:
    static constexpr Region kRegions[] = {{Space::kPorts, 12}};
    Alias(Bus& bus, uint16_t base) : bus_(bus), base_(base) {}
    std::span<const Region> regions() const override { return kRegions; }
    uint32_t read_port(DeviceAddress at, unsigned size) override {
      return bus_.read_port(static_cast<uint16_t>(base_ + at.offset), size);
    }
    void write_port(DeviceAddress at, unsigned size, uint32_t value) override {
      bus_.write_port(static_cast<uint16_t>(base_ + at.offset), size, value);
    }
    // What is there already stays: the registers themselves, for one.
    void place(uint64_t at) {
      if (!claim_.move_to(at)) claim_.release();
    }
    void release() { claim_.release(); }

   private:
    Bus& bus_;
    const uint16_t base_;
    Claim claim_{bus_, *this, 0};
  };

  static constexpr unsigned kBase = 0x40, kDeviceActivityB = 0x58, kMiscellaneous = 0x80;
  static constexpr uint32_t kPorts = 1, kBaseBits = 0xffc0;
  static constexpr uint32_t kApmSmiEnabled = 1u << 25;
  static constexpr uint32_t kPortsEnabled = 1;

  void configuration_written(unsigned /*offset*/, unsigned /*size*/) override { place(); }
  void place() {
    if ((configuration(kMiscellaneous, 1) & kPortsEnabled) != 0) {
      alias_.place(configuration(kBase, 2) & kBaseBits);
    } else {
      alias_.release();
    }
  }

  Alias alias_;
};

}  // namespace nestor::emu
