// SPDX-License-Identifier: GPL-2.0-or-later
//
// The x87 FPU's opcode, instruction pointer and data pointer, as instructions save and load them:
// SDM volume 1, "x87 FPU Instruction and Data (Operand) Pointers".
#pragma once

#include <cstdint>

#include "emu/engine/extended_state.h"
#include "vmx/processor_type.h"

namespace nestor::emu {

struct X87Pointers {
  uint16_t fop = 0, fcs = 0, fds = 0;
  uint64_t fip = 0, fdp = 0;
};

inline X87Pointers x87_pointers(const vmx::ProcessorType& type, const ExtendedState& state) {
  const bool exception_only = type.has(vmx::Feature::kFdpExceptionOnly);
  const bool no_selectors = type.has(vmx::Feature::kZeroFcsFds);
  return {state.fop, no_selectors ? uint16_t{0} : state.fcs, no_selectors ? uint16_t{0} : state.fds,
          state.fip, exception_only ? state.exception_fdp : state.fdp};
}

inline void set_x87_pointers(ExtendedState& state, const X87Pointers& pointers) {
  state.fop = pointers.fop & ExtendedState::kFopMask;
  state.fcs = pointers.fcs;
  state.fds = pointers.fds;
  state.fip = pointers.fip;
  state.fdp = state.exception_fdp = pointers.fdp;
}

// FNINIT, and what else brings the x87 FPU into its initial state; its registers keep their values.
inline void initialize_x87(ExtendedState& state) {
  const ExtendedState initial;
  state.fcw = initial.fcw;
  state.fsw = initial.fsw;
  state.ftw = initial.ftw;
  set_x87_pointers(state, {});
}

}  // namespace nestor::emu
