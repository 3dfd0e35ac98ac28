// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/exit_log.h"

#include <algorithm>

namespace nestor::emu {

void ExitLog::vm_entry(const vmx::VmEntryEvent& event) {
  if (turns_.until().vm_entry) turns_.stop({Pause::Reason::kVmEntry, processor_});
  if (listener_ != nullptr) listener_->vm_entry(event);
}

void ExitLog::vm_exit(const vmx::VmExitEvent& event) {
  LastExit exit{event.reason, event.qualification, event.guest_rip, event.guest_physical, 1};
  if (last_) {
    if (exit.is_as(*last_)) exit.times += last_->times;
    std::shift_right(recent_.begin(), recent_.end(), 1);
    recent_.front() = *last_;
  }
  for (size_t period = 2; period <= kLongestCycle; ++period) {
    const bool same = exits_ >= period && exit.is_as(recent_[period - 1]);
    same_[period] = same ? same_[period] + 1 : 0;
  }
  last_ = exit;
  ++exits_;
  if (turns_.until().vm_exit) turns_.stop({Pause::Reason::kVmExit, processor_});
  if (listener_ != nullptr) listener_->vm_exit(event);
}

std::optional<ExitCycle> ExitLog::cycle() const {
  if (!last_ || last_->times > 1) return std::nullopt;
  for (size_t period = 2; period <= kLongestCycle; ++period) {
    if (same_[period] < period) continue;
    ExitCycle cycle{{*last_}, 1 + same_[period] / period};
    for (size_t i = 0; i + 1 < period; ++i) cycle.exits.insert(cycle.exits.begin(), recent_[i]);
    return cycle;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
