// SPDX-License-Identifier: GPL-2.0-or-later
//
// The time that L0's handlers take, where a model of the core prices code.
#include "emu/l0/hypervisor.h"

namespace nestor::emu {

using vmx::ExitReason;

void Hypervisor::spend(HandlerStep step, uint64_t times) {
  if (handler_prices_) hardware().around().prices.charge_core(times * (*handler_prices_)[step]);
}

// As KVM, L0 copies the shadow VMCS at VM entries and when L1 leaves its VMCS, not at each VM exit.
void Hypervisor::spend_on_instruction(ExitReason reason, bool had_current) {
  const bool shadowing = config_.vmcs_shadowing;
  if (nested().in_non_root()) {
    spend(HandlerStep::kNestedEntry);
    if (reason == ExitReason::kVmlaunch) spend(HandlerStep::kNewVmcs);
    if (shadowing) spend(HandlerStep::kFetch);
    return;
  }
  spend(step_for(reason));
  const bool has_current = nested().current_vmcs_pointer().has_value();
  if (shadowing && reason == ExitReason::kVmptrld && has_current) spend(HandlerStep::kPublish);
  if (shadowing && had_current && !has_current) spend(HandlerStep::kFetch);
}

void Hypervisor::spend_on_reflection() {
  spend(HandlerStep::kReflection);
  if (!uses_ept()) spend(HandlerStep::kShadowReflection);
  if (config_.vmcs_shadowing) spend(HandlerStep::kPublish);
}

void Hypervisor::flush(const vmx::Invalidation& what) {
  spend(HandlerStep::kFlush);
  hardware().invalidate(what);
}

}  // namespace nestor::emu
