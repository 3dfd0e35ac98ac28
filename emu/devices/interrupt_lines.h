// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where the interrupt lines of a PC lead: each goes to the 8259A and to the I/O APIC at once.
#pragma once

#include "emu/devices/apic/io_apic.h"
#include "emu/devices/legacy/pic.h"

namespace nestor::emu {

class InterruptLines {
 public:
  InterruptLines(PicPair& pics, IoApic& io_apic) : pics_(pics), io_apic_(io_apic) {}

  // `line` 0..15 are the ISA lines, of which line 0 meets the I/O APIC at pin 2; 16..23 exist there
  // only.
  void set(unsigned line, bool level) {
    if (line < 16) pics_.set_irq(line, level);
    io_apic_.set_pin(line == 0 ? 2 : line, level);
  }

 private:
  PicPair& pics_;
  IoApic& io_apic_;
};

}  // namespace nestor::emu
