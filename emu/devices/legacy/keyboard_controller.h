// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 8042 keyboard controller without keyboard, and the system port (0x92 in a PC): status, reset
// and an A20 line that stays open.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

class KeyboardController : public Device {
 public:
  static constexpr Region kRegions[] = {
      {Space::kPorts, 1},  // data
      {Space::kPorts, 1},  // command
      {Space::kPorts, 1},  // system port
  };

  // `reset`: the guest pulsed the processor's reset line.
  explicit KeyboardController(std::function<void()> reset) : reset_(std::move(reset)) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override { archive(state_); }

 private:
  struct State {
    std::deque<uint8_t> output;
    uint8_t command_byte = 0x30;  // both interfaces disabled
    uint8_t output_port = 0x03;   // reset line high, A20 on
    uint8_t awaited = 0;          // the command whose parameter is next on the data port
    bool last_was_command = false;
    void fields(Archive& archive) {
      archive.sequence(output, SIZE_MAX);
      archive(command_byte, output_port, awaited, last_was_command);
    }
  };

  void command(uint8_t value);
  void parameter(uint8_t value);
  void reset() const {
    if (reset_) reset_();
  }

  std::function<void()> reset_;
  State state_;
};

}  // namespace nestor::emu
