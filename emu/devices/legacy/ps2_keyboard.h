// SPDX-License-Identifier: GPL-2.0-or-later
//
// A PS/2 keyboard at its end of the cable: IBM PS/2 Technical Reference, "101- and 102-Key
// Keyboards": scan code sets 1 and 2, and the commands that need no set 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "emu/devices/legacy/key_stroke.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class Ps2Keyboard {
 public:
  // A command, or its parameter.
  void receive(uint8_t byte);
  // The next byte that it sends.
  std::optional<uint8_t> send();
  bool has_sent_all() const { return state_.output.empty(); }
  // It sends what is typed.
  bool scans() const { return state_.scans; }
  // To be called when it scans and has sent all.
  void type(const KeyStroke& stroke);

  void serialize(Archive& archive) { archive(state_); }

 private:
  static constexpr size_t kMostOutput = 32;  // a stroke, or the answer to a command

  struct State {
    std::deque<uint8_t> output;
    uint8_t scan_code_set = 2;
    uint8_t awaited = 0;  // the command whose parameter comes next; 0: none
    uint8_t last = 0;     // that was sent
    bool scans = true;
    void fields(Archive& archive) {
      archive.sequence(output, kMostOutput);
      archive(scan_code_set, awaited, last, scans);
      archive.require(scan_code_set == 1 || scan_code_set == 2);
    }
  };

  void answer(std::initializer_list<uint8_t> bytes) { state_.output = bytes; }
  void take_parameter(uint8_t command, uint8_t byte);
  void set_defaults();
  void put_key(uint8_t code, bool extended, bool pressed);

  State state_;
};

// What the keyboard controller makes of a byte of scan code set 2 but F0H, that of a key that is
// released: it belongs to set 1 then. Answers to commands stay what they are.
uint8_t translated_scan_code(uint8_t byte);

}  // namespace nestor::emu
