// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/pci_slots.h"

#include <string>
#include <utility>

#include "emu/devices/pci/isa_bridge.h"
#include "emu/devices/random_numbers.h"
#include "emu/devices/virtio/block.h"
#include "emu/devices/virtio/console.h"
#include "emu/devices/virtio/entropy.h"
#include "emu/machine/board.h"

namespace nestor::emu {
namespace {

// Bits of their registers that are always set: the datasheets' values after reset. What else real
// ones have beyond the header does not exist here, but for the routing of interrupts.
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

}  // namespace

std::unique_ptr<Device> make_pci(const DeviceContext& context) {
  auto host = std::make_unique<PciHost>();
  host->add(0, std::make_unique<PciBridge>(context.bus, kHostBridge));
  host->add(1, std::make_unique<IsaBridge>(context.bus, kIsaBridge, context.lines, kFirstPciLine));
  if (context.outputs.memory == nullptr) return host;
  host->add(2, std::make_unique<VirtioEntropy>(place_in(context, 2, "virtio-rng"),
                                               entropy_seed(context.facts.random_seed)));
  if (context.facts.disks.size() > kMaxDisks) throw DiskError("there are too many disks");
  unsigned slot = kFirstDiskSlot;
  for (const DiskConfig& config : context.facts.disks) {
    const std::string number = std::to_string(slot - kFirstDiskSlot);
    host->add(slot, std::make_unique<VirtioBlock>(place_in(context, slot, "virtio-blk " + number),
                                                  std::make_unique<Disk>(config),
                                                  "nestor-disk-" + number));
    ++slot;
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
