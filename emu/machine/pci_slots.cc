// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/pci_slots.h"

#include "emu/devices/pci/host.h"
#include "emu/machine/board.h"

namespace nestor::emu {
namespace {

// Bits of their registers that are always set: the datasheets' values after reset. What else a real
// one has beyond the header does not exist here.
constexpr PciFunction::Identity kHostBridge = {.vendor = 0x8086,
                                               .device = 0x1237,
                                               .revision = 2,
                                               .class_code = 0x060000,
                                               .command = 0x0006,
                                               .status = 0x0280};
constexpr PciFunction::Identity kIsaBridge = {.vendor = 0x8086,
                                              .device = 0x7000,
                                              .revision = 0,
                                              .class_code = 0x060100,
                                              .command = 0x0007,
                                              .status = 0x0280};

}  // namespace

std::unique_ptr<Device> make_pci(const DeviceContext& context) {
  auto host = std::make_unique<PciHost>();
  host->add(0, std::make_unique<PciBridge>(context.bus, kHostBridge));
  host->add(1, std::make_unique<PciBridge>(context.bus, kIsaBridge));
  return host;
}

}  // namespace nestor::emu
