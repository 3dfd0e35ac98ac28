// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is on the PCI bus of the PC:
//
//   00:00.0  host bridge, as the 440FX has it
//   00:01.0  ISA bridge, as the PIIX3 has it
#pragma once

#include <memory>

#include "emu/devices/bus.h"

namespace nestor::emu {

struct DeviceContext;

// The bus with all of it.
std::unique_ptr<Device> make_pci(const DeviceContext& context);

}  // namespace nestor::emu
