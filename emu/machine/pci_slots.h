// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is on the PCI bus of the PC:
//
//   00:00.0  host bridge, as the 440FX has it
//   00:01.0  ISA bridge, as the PIIX3 has it, which routes lines 16 to 19 to the 8259s
//   00:01.2  AHCI, if there is a drive for it: a CD drive at port 0, and disks from port 1 on
//   00:01.3  power management, as the PIIX4 has it
//   00:01.4  the standard VGA, if there is one
//   00:02.0  virtio-rng
//   00:03.0  and on: virtio-blk, one a virtio disk, in the order in which they were given
//   00:1e.0  virtio-net, if there is one
//   00:1f.0  virtio-console, if there is one
#pragma once

#include <memory>

#include "emu/devices/ata/ahci.h"
#include "emu/devices/bus.h"
#include "emu/devices/pci/host.h"

namespace nestor::emu {

struct DeviceContext;

inline constexpr unsigned kFirstDiskSlot = 3;
inline constexpr struct { unsigned slot, number; } kAhciPlace = {1, 2};
inline constexpr struct { unsigned slot, number; } kDisplayPlace = {1, 4};
inline constexpr unsigned kConsoleSlot = PciHost::kSlots - 1;
inline constexpr unsigned kNetworkSlot = kConsoleSlot - 1;
inline constexpr unsigned kMaxVirtioDisks = kNetworkSlot - kFirstDiskSlot;
inline constexpr unsigned kCdPort = 0, kFirstDiskPort = 1;
inline constexpr unsigned kMaxAhciDisks = AhciController::kPorts - kFirstDiskPort;
inline constexpr unsigned kMaxDisks = kMaxVirtioDisks + kMaxAhciDisks;
// INTA# of slot S leads to this one and S mod 4; the DSDT says so.
inline constexpr unsigned kFirstPciLine = 16, kPciLines = 4;

// The bus with all of it. Throws DiskError. Without memory there are the bridges alone.
std::unique_ptr<Device> make_pci(const DeviceContext& context);

}  // namespace nestor::emu
