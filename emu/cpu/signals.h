// SPDX-License-Identifier: GPL-2.0-or-later
//
// What other agents ask of a processor, latched until an instruction boundary takes it: NMI, INIT,
// start-up IPI.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/hardware_core.h"

namespace nestor::emu {

class Signals {
 public:
  // `core` outlives this object.
  explicit Signals(HardwareCore& core) : core_(core) {}

  void raise_nmi() { nmi_ = true; }
  bool nmi() const { return nmi_; }
  void take_nmi() { nmi_ = false; }

  void raise_init();
  // It is pending, and neither VMX root operation nor the wait for a start-up IPI blocks it.
  bool init_is_due() const;
  void raise_start_up(uint8_t vector);
  // Takes an INIT or a start-up IPI, if one is pending and not blocked. true: it was taken.
  bool take_init_or_start_up();
  // INIT outside VMX operation: the processor waits for a start-up IPI; for the bootstrap processor
  // the run ends.
  void take_init();

  void serialize(Archive& archive) { archive(nmi_, init_, start_up_); }

 private:
  bool bootstrap() const { return core_.number() == 0; }

  HardwareCore& core_;
  bool nmi_ = false, init_ = false;
  std::optional<uint8_t> start_up_;  // the vector
};

}  // namespace nestor::emu
