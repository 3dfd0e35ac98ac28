// SPDX-License-Identifier: GPL-2.0-or-later
//
// A port of an AHCI controller with a drive behind it: its registers, its command list, and the
// FISes that the drive sends. Commands are executed one after another, queued ones too, each in its
// time on the machine's clock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "emu/devices/ata/drive.h"
#include "emu/devices/device_memory.h"
#include "emu/time/clock.h"
#include "emu/time/event_queue.h"

namespace nestor::emu {

class AhciPort {
 public:
  struct Place {
    EventQueue& timers;
    const Clock& clock;
    DeviceMemory& memory;
    std::function<bool()> is_bus_master;
    std::function<void()> raised;  // interrupts() may have become true
  };

  // `name`: of its timer; no other has it.
  AhciPort(Place place, std::string name, std::unique_ptr<AtaDrive> drive);

  // 32-bit registers, by their offsets.
  uint32_t read(uint64_t offset) const;
  void write(uint64_t offset, uint32_t value);
  void reset();
  // There is a cause that is enabled.
  bool interrupts() const { return (causes() & state_.enabled) != 0; }
  bool has_queue() const { return drive_->has_queue(); }
  void serialize(Archive& archive);

 private:
  static constexpr uint32_t kLastSlot = 31;

  struct State {
    uint64_t list = 0, received = 0;  // where the command list is, and where received FISes go
    uint32_t interrupts = 0, enabled = 0, command = 0, task_file = 0, signature = 0, error = 0,
             link_control = 0, active = 0, issued = 0;
    uint32_t last_slot = kLastSlot;  // of the last command that was begun
    bool stopped = false;            // after an error, until the port is started anew
    void fields(Archive& archive) {
      archive(list, received, interrupts, enabled, command, task_file, signature, error,
              link_control, active, issued, last_slot, stopped);
    }
  };
  // A command in its slot.
  struct Command {
    uint32_t flags = 0;               // the first doubleword of its header
    uint64_t header = 0, table = 0;   // where they are
    std::array<uint8_t, 0x50> fis{};  // and at 40H the packet
    AtaCommand decoded() const;
  };
  struct Transfer {
    AtaDrive::Moved moved = AtaDrive::Moved::kAll;
    uint64_t bytes = 0;
    uint32_t causes = 0;
    bool has_memory = true;
  };

  uint32_t causes() const;
  void raise(uint32_t causes);
  void write_command(uint32_t value);
  void write_link_control(uint32_t value);
  bool has_link() const;
  void reset_drive();
  void start_next();
  unsigned current_slot() const;
  bool fetch(unsigned slot, Command& command);
  void execute(unsigned slot);
  void write_control(unsigned slot, const Command& command);
  Transfer move(const Command& command, const AtaAnswer& answer);
  void complete(unsigned slot, const AtaCommand& command, const AtaRegisters& registers,
                const AtaAnswer& answer, uint32_t causes);
  void fail_on_host_bus();
  uint32_t receive_pio_setup(const AtaRegisters& registers, const AtaAnswer& answer);
  uint32_t receive_bits(const AtaRegisters& registers, unsigned tag);
  uint32_t receive_registers(const AtaRegisters& registers);
  void receive(uint64_t offset, std::span<const uint8_t> fis);

  const Place place_;
  const std::unique_ptr<AtaDrive> drive_;
  EventQueue::Timer due_;  // the end of the command that is being executed
  State state_;
};

}  // namespace nestor::emu
