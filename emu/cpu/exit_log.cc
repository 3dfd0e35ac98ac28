// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/exit_log.h"

namespace nestor::emu {

void ExitLog::vm_entry(const vmx::VmEntryEvent& event) {
  if (turns_.until().vm_entry) turns_.stop({Pause::Reason::kVmEntry, processor_});
  if (listener_ != nullptr) listener_->vm_entry(event);
}

void ExitLog::vm_exit(const vmx::VmExitEvent& event) {
  const bool again = last_ && last_->reason == event.reason &&
                     last_->guest_rip == event.guest_rip &&
                     last_->guest_physical == event.guest_physical;
  last_ = LastExit{event.reason, event.qualification, event.guest_rip, event.guest_physical,
                   again ? last_->times + 1 : 1};
  ++exits_;
  if (turns_.until().vm_exit) turns_.stop({Pause::Reason::kVmExit, processor_});
  if (listener_ != nullptr) listener_->vm_exit(event);
}

}  // namespace nestor::emu
