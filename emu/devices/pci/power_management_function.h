// SPDX-License-Identifier: GPL-2.0-or-later
//
// The power management function of a PC's south bridge, by which firmware finds the registers of
// ACPI: 82371AB (PIIX4) data sheet, "Power Management PCI Configuration Registers". Their place
// cannot be changed, and there is no system management mode: firmware is told that this has been
// dealt with.
#pragma once

#include <cstdint>

#include "emu/devices/pci/function.h"

namespace nestor::emu {

class PowerManagementFunction final : public PciFunction {
 public:
  // `base`: the first port of the registers.
  PowerManagementFunction(Bus& bus, const Identity& identity, uint16_t base)
      : PciFunction(bus, identity, {}, std::nullopt) {
    set_configuration(kBase, 4, base | 1u);
    set_configuration(kDeviceActivityB, 4, kApmSmiEnabled);
    set_configuration(kMiscellaneous, 1, kPortsEnabled);
  }

 private:
  static constexpr unsigned kBase = 0x40, kDeviceActivityB = 0x58, kMiscellaneous = 0x80;
  static constexpr uint32_t kApmSmiEnabled = 1u << 25;
  static constexpr uint32_t kPortsEnabled = 1;
};

}  // namespace nestor::emu
