// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ISA bridge of a PC, as far as it routes the interrupt pins of PCI to lines of the 8259s:
// 82371FB (PIIX) and 82371SB (PIIX3) data sheet, "PIRQRC[A:D], PIRQx Route Control Registers".
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "emu/devices/interrupt_lines.h"
#include "emu/devices/pci/function.h"

namespace nestor::emu {

class IsaBridge final : public PciFunction {
 public:
  static constexpr unsigned kPins = 4;  // PIRQA# to PIRQD#
  static constexpr unsigned kRoutes = 0x60;

  // PIRQA# and on are the lines from `first_line` on. `lines` outlives the bridge.
  IsaBridge(Bus& bus, const Identity& identity, InterruptLines& lines, unsigned first_line)
      : PciFunction(bus, identity, {}, std::nullopt) {
    for (unsigned irq = 0; irq < kIrqs; ++irq) sources_.push_back(lines.source(irq));
    set_configuration(kRoutes, kPins, 0x01010101u * kDisabled);
    set_writable(kRoutes, kPins, 0x01010101u * (kDisabled | kIrq));
    lines.lead_to([this, first_line](unsigned line, bool level) {
      if (line < first_line || line >= first_line + kPins) return;
      levels_[line - first_line] = level;
      route();
    });
  }

  void serialize(Archive& archive) override {
    PciFunction::serialize(archive);
    archive(levels_);
    for (InterruptSource& source : sources_) source.serialize(archive);
  }

 private:
  static constexpr unsigned kIrqs = 16;
  static constexpr uint8_t kDisabled = 0x80, kIrq = 0x0f;
  // IRQ 0 to 2, 8 and 13 are reserved.
  static constexpr unsigned kRoutable = 0xdef8;

  void configuration_written(unsigned /*offset*/, unsigned /*size*/) override { route(); }

  void route() {
    std::array<bool, kIrqs> high{};
    for (unsigned pin = 0; pin < kPins; ++pin) {
      const uint32_t control = configuration(kRoutes + pin, 1);
      const unsigned irq = control & kIrq;
      if (levels_[pin] && (control & kDisabled) == 0 && (kRoutable >> irq & 1) != 0)
        high[irq] = true;
    }
    for (unsigned irq = 0; irq < kIrqs; ++irq) {
      if (high[irq] != sources_[irq].level()) sources_[irq].set(high[irq]);
    }
  }

  std::array<bool, kPins> levels_{};
  std::vector<InterruptSource> sources_;
};

}  // namespace nestor::emu
