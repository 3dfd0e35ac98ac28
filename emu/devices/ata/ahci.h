// SPDX-License-Identifier: GPL-2.0-or-later
//
// A host bus adapter with one port and a CD drive behind it: Serial ATA AHCI 1.3.1. Commands are
// executed one after another, each in its time on the machine's clock. The drive takes PACKET,
// IDENTIFY PACKET DEVICE, SET FEATURES and DEVICE RESET; no queues, no port multiplier, no hot
// plug.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "emu/devices/ata/cd_drive.h"
#include "emu/devices/device_memory.h"
#include "emu/devices/pci/function.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class AhciController final : public PciFunction {
 public:
  static constexpr uint64_t kRegisterBytes = 0x1000;  // behind base address register 5
  // On the machine's clock of 2 GHz: a command, and each block of 2 KiB.
  static constexpr uint64_t kCommandCycles = 100'000, kCyclesPerBlock = 2'000;

  struct Place {
    Bus& bus;
    const Clock& clock;
    DeviceMemory& memory;
    InterruptSource interrupt;
    std::function<void(const Ipi&)> message;  // of MSI
  };

  AhciController(Place place, const Identity& identity, std::unique_ptr<CdDrive> drive);

  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

 private:
  struct State {
    uint32_t control = 0, pending = 0;  // GHC; IS
    // Of the port.
    uint64_t list = 0, received = 0;  // where the command list is, and where received FISes go
    uint32_t interrupts = 0, enabled = 0, command = 0, task_file = 0, signature = 0, error = 0,
             link_control = 0, issued = 0;
    bool stopped = false;  // after an error, until the port is started anew
    void fields(Archive& archive) {
      archive(control, pending, list, received, interrupts, enabled, command, task_file, signature,
              error, link_control, issued, stopped);
    }
  };
  // A command in its slot.
  struct Command {
    uint32_t flags = 0;               // the first doubleword of its header
    uint64_t header = 0, table = 0;   // where they are
    std::array<uint8_t, 0x50> fis{};  // and at 40H the packet
  };

  uint32_t read_register(uint64_t offset) const;
  void write_register(uint64_t offset, uint32_t value);
  void write_port_register(uint64_t offset, uint32_t value);
  void write_port_command(uint32_t value);
  void reset();
  void reset_drive();
  void start_next();
  bool fetch(unsigned slot, Command& command);
  void execute(unsigned slot);
  bool execute_packet(Command& command);
  bool send(Command& command, std::span<const uint8_t> data, CdDrive::Extent extent);
  void complete(unsigned slot, bool ok, uint32_t cause);
  void fail_on_host_bus();
  void store_fis(uint64_t offset, uint8_t type);
  uint32_t port_interrupts() const;
  void raise(uint32_t causes);
  void update_interrupt();
  unsigned current_slot() const;

  const Clock& clock_;
  DeviceMemory& memory_;
  const std::unique_ptr<CdDrive> drive_;
  EventQueue::Timer due_;  // the end of the command that is being executed
  State state_;
};

}  // namespace nestor::emu
