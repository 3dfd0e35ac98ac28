// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 8042 keyboard controller without keyboard, and port 0x92: status, reset and an A20 line that
// stays open.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

class KeyboardController : public Device {
 public:
  static constexpr uint16_t kDataPort = 0x60;
  static constexpr uint16_t kCommandPort = 0x64;
  static constexpr uint16_t kSystemPort = 0x92;

  // `reset`: the guest pulsed the processor's reset line.
  explicit KeyboardController(std::function<void()> reset) : reset_(std::move(reset)) {}

  std::string_view name() const override { return "keyboard controller"; }
  [[nodiscard]] bool attach(Bus& bus) override;
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;

 private:
  void command(uint8_t value);
  void parameter(uint8_t value);
  void reset() const {
    if (reset_) reset_();
  }

  std::function<void()> reset_;
  std::deque<uint8_t> output_;
  uint8_t command_byte_ = 0x30;  // both interfaces disabled
  uint8_t output_port_ = 0x03;   // reset line high, A20 on
  uint8_t awaited_ = 0;          // the command whose parameter is next on the data port
  bool last_was_command_ = false;
};

}  // namespace nestor::emu
