// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 8042 keyboard controller without keyboard and mouse (it says that they do not answer), and
// the system port (0x92 in a PC): status, both interrupts, reset and an A20 line that stays open.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"

namespace nestor::emu {

class KeyboardController : public Device {
 public:
  static constexpr Region kRegions[] = {
      {Space::kPorts, 1},  // data
      {Space::kPorts, 1},  // command
      {Space::kPorts, 1},  // system port
  };

  // `reset`: the guest pulsed the processor's reset line. `keyboard`, `aux`: the interrupts of what
  // comes from a keyboard, and from a mouse.
  KeyboardController(std::function<void()> reset, InterruptSource keyboard, InterruptSource aux)
      : reset_(std::move(reset)), keyboard_(std::move(keyboard)), aux_(std::move(aux)) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    keyboard_.serialize(archive);
    aux_.serialize(archive);
  }

 private:
  // Of a byte in the output buffer. The controller's own answers interrupt nobody.
  enum class From : uint8_t { kController, kKeyboard, kAux };
  struct Output {
    uint8_t byte = 0;
    From from = From::kController;
    bool timeout = false;  // nobody has sent it: there was no answer
    void fields(Archive& archive) { archive(byte, from, timeout); }
  };
  struct State {
    std::deque<Output> output;
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
  void put(uint8_t byte, From from = From::kController) { state_.output.push_back({byte, from}); }
  void miss_answer(From from);
  void update_interrupts();
  void reset() const {
    if (reset_) reset_();
  }

  std::function<void()> reset_;
  InterruptSource keyboard_, aux_;
  State state_;
};

}  // namespace nestor::emu
