// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 8042 keyboard controller with a keyboard or without (it says that it does not answer then, as
// a mouse never does), and the system port (0x92 in a PC): status, both interrupts, reset and an
// A20 line that stays open.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/devices/legacy/key_stroke.h"
#include "emu/devices/legacy/ps2_keyboard.h"
#include "emu/time/clock.h"

namespace nestor::emu {

class KeyboardController : public Device {
 public:
  static constexpr Region kRegions[] = {
      {Space::kPorts, 1},  // data
      {Space::kPorts, 1},  // command
      {Space::kPorts, 1},  // system port
  };

  // Who types on the keyboard, and when.
  struct Typist {
    const Clock& clock;
    EventQueue& timers;
    KeyInput input{};
    // A BIOS has left the keyboard ready: with its interrupt, and scan codes of set 1.
    bool ready = false;
  };

  // `reset`: the guest pulsed the processor's reset line. `keyboard`, `aux`: the interrupts of what
  // comes from a keyboard, and from a mouse. Without `typist` there is no keyboard.
  KeyboardController(std::function<void()> reset, InterruptSource keyboard, InterruptSource aux,
                     std::optional<Typist> typist = std::nullopt);

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    if (keyboard_) keyboard_->serialize(archive);
    keyboard_line_.serialize(archive);
    aux_line_.serialize(archive);
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
    bool released = false;  // the keyboard has sent F0H: what follows is a key that was released
    uint8_t polls = 0;      // of the status while there was nothing
    void fields(Archive& archive) {
      archive.sequence(output, SIZE_MAX);
      archive(command_byte, output_port, awaited, last_was_command, released, polls);
    }
  };
  static constexpr uint8_t kPolls = 16;  // so many are listening

  void command(uint8_t value);
  void parameter(uint8_t value);
  void put(uint8_t byte, From from = From::kController) { state_.output.push_back({byte, from}); }
  void miss_answer(From from);
  bool listens() const;
  void await_stroke();
  void take_stroke();
  void take_from_keyboard();
  void update_interrupts();
  void reset() const {
    if (reset_) reset_();
  }

  std::function<void()> reset_;
  InterruptSource keyboard_line_, aux_line_;
  // All three are there or none.
  std::optional<Typist> typist_;
  std::optional<EventQueue::Timer> stroke_;
  std::optional<Ps2Keyboard> keyboard_;
  State state_;
};

}  // namespace nestor::emu
