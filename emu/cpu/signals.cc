// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/signals.h"

#include "emu/cpu/start_up.h"

namespace nestor::emu {

using vmx::ActivityState;

void Signals::raise_init() {
  init_ = true;
  // Outside VMX operation it undoes a start that has not begun.
  if (!core_.in_vmx_operation()) start_up_.reset();
}

// "Other Causes of VM Exits": a processor that does not wait for it discards it. An INIT that is
// about to be taken makes the processor wait.
void Signals::raise_start_up(uint8_t vector) {
  const vmx::Vmx& vmx = core_.vmx();
  const bool root = vmx.in_vmx_operation() && !vmx.in_non_root();
  const bool waits = core_.state().activity == ActivityState::kWaitForSipi && !root;
  const bool will_wait = init_ && !core_.in_vmx_operation() && !bootstrap();
  if ((waits || will_wait) && !start_up_) start_up_ = vector;
}

void Signals::take_init() {
  if (bootstrap()) {
    // It would begin with the firmware, and there is none.
    core_.around().turns.finish({RunEnd::Kind::kReset});
    return;
  }
  core_.state() = state_after_init(core_.state(), core_.type().model().signature);
  core_.apic().init_reset();
  core_.context().request_flush();
  nmi_ = false;
}

bool Signals::init_is_due() const {
  const vmx::Vmx& vmx = core_.vmx();
  const bool waits = core_.state().activity == ActivityState::kWaitForSipi;
  return init_ && (!vmx.in_vmx_operation() || (vmx.in_non_root() && !waits));
}

bool Signals::take_init_or_start_up() {
  vmx::Vmx& vmx = core_.vmx();
  if (init_is_due()) {
    init_ = false;
    if (vmx.in_non_root()) {
      vmx.init_exits();
    } else {
      take_init();
    }
    return true;
  }
  if (!start_up_ || core_.state().activity != ActivityState::kWaitForSipi) return false;
  const uint8_t vector = *start_up_;
  start_up_.reset();
  if (vmx.in_non_root()) {
    vmx.sipi_exits(vector);
  } else {
    start_at(core_.state(), vector);
  }
  return true;
}

}  // namespace nestor::emu
