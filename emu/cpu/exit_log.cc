// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/exit_log.h"

namespace nestor::emu {

void ExitLog::vm_entry(const vmx::VmEntryEvent& event) {
  if (turns_.until().vm_entry) turns_.stop({Pause::Reason::kVmEntry, processor_});
  if (listener_ != nullptr) listener_->vm_entry(event);
}

void ExitLog::vm_exit(const vmx::VmExitEvent& event) {
  LastExit exit{event.reason, event.qualification, event.guest_rip, event.guest_physical, 1};
  if (last_ && exit.is_as(*last_)) exit.times += last_->times;
  for (size_t period = 2; period <= kLongestCycle; ++period) {
    const bool same = exits_ >= period && exit.is_as(recent(period));
    same_[period] = same ? same_[period] + 1 : 0;
  }
  recent_[exits_ % kLongestCycle] = exit;
  last_ = exit;
  ++exits_;
  if (turns_.until().vm_exit) turns_.stop({Pause::Reason::kVmExit, processor_});
  if (listener_ != nullptr) listener_->vm_exit(event);
}

std::optional<ExitCycle> ExitLog::cycle() const {
  if (!last_ || last_->times > 1) return std::nullopt;
  for (size_t period = 2; period <= kLongestCycle; ++period) {
    if (same_[period] < period) continue;
    ExitCycle cycle{{}, 1 + same_[period] / period};
    for (size_t before = period; before != 0; --before) cycle.exits.push_back(recent(before));
    return cycle;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
