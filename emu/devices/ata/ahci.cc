// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/ahci.h"

#include <string>
#include <utility>

namespace nestor::emu {
namespace {

// "HBA Memory Registers".
enum Register : uint64_t {
  kCapabilities = 0x00,
  kGlobalControl = 0x04,
  kInterruptStatus = 0x08,
  kPortsImplemented = 0x0c,
  kVersion = 0x10,
  kPort = 0x100,
  kPortBytes = 0x80,
};

// 32 command slots, AHCI alone, 1.5 Gbit/s, command list override, 64-bit addresses.
constexpr uint32_t kOffered = 31u << 8 | 1u << 18 | 1u << 20 | 1u << 24 | 1u << 31;
// Of drives with a queue: native command queueing, and PIO of more than one block.
constexpr uint32_t kOfferedWithQueue = 1u << 30 | 1u << 15;
constexpr uint32_t kVersion131 = 0x00010301;
// GHC.
constexpr uint32_t kReset = 1u << 0, kInterrupts = 1u << 1, kAhci = 1u << 31;

}  // namespace

AhciController::AhciController(Place place, const Identity& identity, Drives drives)
    : PciFunction(place.bus, identity, {{}, {}, {}, {}, {}, {Space::kMemory, kRegisterBytes}},
                  std::move(place.interrupt)),
      capabilities_(kOffered) {
  add_msi(std::move(place.message));
  for (unsigned i = 0; i < kPorts; ++i) {
    if (!drives[i]) continue;
    ports_[i] = std::make_unique<AhciPort>(
        AhciPort::Place{place.bus.timers(), place.clock, place.memory,
                        [this] { return is_bus_master(); }, [this] { take_causes(); }},
        i == 0 ? "AHCI" : "AHCI " + std::to_string(i), std::move(drives[i]));
    implemented_ |= 1u << i;
    // How many ports there are at most, less one.
    capabilities_ = (capabilities_ & ~0x1fu) | i;
    if (ports_[i]->has_queue()) capabilities_ |= kOfferedWithQueue;
  }
  reset();
}

void AhciController::reset() {
  state_ = State{.control = kAhci};
  for (const auto& port : ports_)
    if (port) port->reset();
  update_interrupt();
}

// --- registers

uint32_t AhciController::read_register(uint64_t offset) const {
  if (offset >= kPort) {
    const uint64_t index = (offset - kPort) / kPortBytes;
    if (index >= kPorts || !ports_[index]) return 0;
    return ports_[index]->read((offset - kPort) % kPortBytes);
  }
  switch (offset) {
    case kCapabilities:
      return capabilities_;
    case kGlobalControl:
      return state_.control;
    case kInterruptStatus:
      return state_.pending;
    case kPortsImplemented:
      return implemented_;
    case kVersion:
      return kVersion131;
    default:
      return 0;
  }
}

uint64_t AhciController::read_memory(DeviceAddress at, unsigned size) {
  if (size == 8 && at.offset % 8 == 0)
    return read_register(at.offset) | uint64_t{read_register(at.offset + 4)} << 32;
  if (at.offset % 4 + size > 4) return 0;  // registers are read one by one
  const uint32_t value = read_register(at.offset & ~3ull) >> (8 * (at.offset % 4));
  return value & (0xffffffffu >> (32 - 8 * size));
}

// Registers are written as a whole.
void AhciController::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  if (size < 4 || at.offset % size != 0) return;
  write_register(at.offset, static_cast<uint32_t>(value));
  if (size == 8) write_register(at.offset + 4, static_cast<uint32_t>(value >> 32));
}

void AhciController::write_register(uint64_t offset, uint32_t value) {
  if (offset == kGlobalControl) {
    if ((value & kReset) != 0) return reset();
    state_.control = kAhci | (value & kInterrupts);
    update_interrupt();
  } else if (offset == kInterruptStatus) {
    state_.pending &= ~value;
    take_causes();
    // What software has not seen yet gets a message of its own.
    if (state_.pending != 0) repeat_message();
  } else if (offset >= kPort) {
    const uint64_t index = (offset - kPort) / kPortBytes;
    if (index < kPorts && ports_[index]) ports_[index]->write((offset - kPort) % kPortBytes, value);
  }
}

// --- interrupts

void AhciController::take_causes() {
  for (unsigned i = 0; i < kPorts; ++i)
    if (ports_[i] && ports_[i]->interrupts()) state_.pending |= 1u << i;
  update_interrupt();
}

void AhciController::update_interrupt() {
  set_interrupt((state_.control & kInterrupts) != 0 && state_.pending != 0);
}

void AhciController::serialize(Archive& archive) {
  PciFunction::serialize(archive);
  archive(state_);
  archive.require((state_.control & ~kInterrupts) == kAhci &&
                  (state_.pending & ~implemented_) == 0);
  for (const auto& port : ports_)
    if (port) port->serialize(archive);
}

}  // namespace nestor::emu
