// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flags on the stack that IRET is about to pop. IRET enters virtual-8086 mode at CPL 0 outside
// IA-32e mode only; the engine does wherever these flags say so, so VM is hidden from it.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/hardware_core.h"

namespace nestor::emu {

class IretImage {
 public:
  // `core` outlives this object.
  explicit IretImage(HardwareCore& core) : core_(core) {}

  // Whether IRET in this state, outside 64-bit mode, does not heed VM.
  static bool ignores_vm(const vmx::CpuState& state) {
    return state.protected_mode() && !state.virtual_8086() && !state.code_64bit() &&
           (state.long_mode_active() || state.cpl() != 0);
  }

  void hide_vm();
  void restore();

 private:
  HardwareCore& core_;
  std::optional<uint64_t> hidden_at_;  // the physical address of the byte that had VM
};

}  // namespace nestor::emu
