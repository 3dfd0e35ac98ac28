// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/pci_slots.h"

#include <algorithm>
#include <string>
#include <utility>

#include "emu/devices/ata/ahci.h"
#include "emu/devices/ata/cd_drive.h"
#include "emu/devices/ata/hard_disk.h"
#include "emu/devices/display/display_function.h"
#include "emu/devices/pci/host_bridge.h"
#include "emu/devices/pci/isa_bridge.h"
#include "emu/devices/pci/power_management_function.h"
#include "emu/devices/random_numbers.h"
#include "emu/devices/virtio/block.h"
#include "emu/devices/virtio/console.h"
#include "emu/devices/virtio/entropy.h"
#include "emu/devices/virtio/network.h"
#include "emu/machine/board.h"

namespace nestor::emu {
namespace {

// Bits of their registers that are always set: the datasheets' values after reset. What else real
// ones have beyond the header does not exist here, but for the routing of interrupts.
// SeaBIOS looks for fw_cfg where the host bridge says that it is on a machine as QEMU's.
constexpr uint16_t kQemuVendor = 0x1af4, kQemuMachine = 0x1100;
constexpr PciFunction::Identity kHostBridge = {.vendor = 0x8086,
                                               .device = 0x1237,
                                               .revision = 2,
                                               .class_code = 0x060000,
                                               .subsystem_vendor = kQemuVendor,
                                               .subsystem = kQemuMachine,
                                               .command = 0x0006,
                                               .status = 0x0280};
constexpr PciFunction::Identity kIsaBridge = {.vendor = 0x8086,
                                              .device = 0x7000,
                                              .revision = 0,
                                              .class_code = 0x060100,
                                              .command = 0x0007,
                                              .status = 0x0280};

constexpr PciFunction::Identity kPowerManagement = {
    .vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000, .status = 0x0280};

// As in an ICH9.
constexpr PciFunction::Identity kAhci = {
    .vendor = 0x8086, .device = 0x2922, .revision = 2, .class_code = 0x010601};

constexpr PciFunction::Identity kDisplay = {.vendor = 0x1234,
                                            .device = 0x1111,
                                            .revision = 2,
                                            .class_code = 0x030000,
                                            .subsystem_vendor = kQemuVendor,
                                            .subsystem = kQemuMachine};

VirtioPlace place_in(const DeviceContext& context, unsigned slot, std::string name) {
  return {std::move(name),
          context.bus,
          context.clock,
          *context.outputs.memory,
          context.lines.source(kFirstPciLine + slot % kPciLines),
          context.outputs.interrupt_message};
}

// Another sequence than those that the processors have of the same seed.
uint64_t entropy_seed(uint64_t seed) { return RandomNumbers(~seed).next(); }

// By the place of the disk among all.
std::string serial_of(size_t index) { return "nestor-disk-" + std::to_string(index); }

bool has(const std::unique_ptr<AtaDrive>& drive) { return drive != nullptr; }

AhciController::Drives make_drives(const BoardFacts& facts) {
  AhciController::Drives drives;
  if (facts.cd)
    drives[kCdPort] = std::make_unique<CdDrive>(std::make_unique<Disk>(*facts.cd, Disk::Kind::kCd));
  unsigned port = kFirstDiskPort;
  for (size_t i = 0; i < facts.disks.size(); ++i) {
    if (!facts.disks[i].ahci) continue;
    if (port == drives.size()) throw DiskError("there are too many disks behind AHCI");
    drives[port++] =
        std::make_unique<HardDisk>(std::make_unique<Disk>(facts.disks[i]), serial_of(i));
  }
  return drives;
}

void add_virtio_disks(const DeviceContext& context, PciHost& host) {
  const std::vector<DiskConfig>& disks = context.facts.disks;
  unsigned slot = kFirstDiskSlot;
  for (size_t i = 0; i < disks.size(); ++i) {
    if (disks[i].ahci) continue;
    if (slot == kNetworkSlot) throw DiskError("there are too many disks");
    host.add(slot, std::make_unique<VirtioBlock>(
                       place_in(context, slot, "virtio-blk " + std::to_string(i)),
                       std::make_unique<Disk>(disks[i]), serial_of(i)));
    ++slot;
  }
}

}  // namespace

std::unique_ptr<Device> make_pci(const DeviceContext& context) {
  auto host = std::make_unique<PciHost>(context.outputs.reset);
  host->add(0, std::make_unique<HostBridge>(context.bus, kHostBridge, context.inputs.shadow));
  host->add(1, std::make_unique<IsaBridge>(context.bus, kIsaBridge, context.lines, kFirstPciLine));
  host->add(1,
            std::make_unique<PowerManagementFunction>(context.bus, kPowerManagement, kPmEventPort,
                                                      context.facts.rom_bytes == 0),
            3);
  if (context.inputs.standard_vga != nullptr) {
    host->add(kDisplayPlace.slot,
              std::make_unique<DisplayFunction>(context.bus, kDisplay, *context.inputs.standard_vga,
                                                context.facts.vga_bios),
              kDisplayPlace.number);
  }
  if (context.outputs.memory == nullptr) return host;
  if (AhciController::Drives drives = make_drives(context.facts);
      std::ranges::any_of(drives, has)) {
    host->add(kAhciPlace.slot,
              std::make_unique<AhciController>(
                  AhciController::Place{context.bus, context.clock, *context.outputs.memory,
                                        context.lines.source(kFirstPciLine + kAhciPlace.slot),
                                        context.outputs.interrupt_message},
                  kAhci, std::move(drives)),
              kAhciPlace.number);
  }
  host->add(2, std::make_unique<VirtioEntropy>(place_in(context, 2, "virtio-rng"),
                                               entropy_seed(context.facts.random_seed)));
  add_virtio_disks(context, *host);
  if (context.facts.network) {
    host->add(kNetworkSlot,
              std::make_unique<VirtioNetwork>(place_in(context, kNetworkSlot, "virtio-net"),
                                              context.outputs.network));
  }
  if (context.facts.virtio_console) {
    host->add(kConsoleSlot,
              std::make_unique<VirtioConsole>(place_in(context, kConsoleSlot, "virtio-console"),
                                              context.outputs.virtio_console,
                                              context.outputs.virtio_console_input));
  }
  return host;
}

}  // namespace nestor::emu
