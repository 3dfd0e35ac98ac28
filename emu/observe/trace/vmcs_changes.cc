// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/vmcs_changes.h"

#include "vmx/exit_reasons.h"
#include "vmx/fields.h"

namespace nestor::emu {

void VmcsChanges::on(const MachineEvent& event) {
  const auto* const entry = std::get_if<vmx::VmEntryEvent>(&event);
  const auto* const exit = std::get_if<vmx::VmExitEvent>(&event);
  const auto* const failure = std::get_if<vmx::VmInstructionErrorEvent>(&event);
  // VM entries that fail have no event as such.
  if (exit != nullptr && exit->data != nullptr &&
      (exit->reason & vmx::kExitReasonEntryFailure) != 0)
    compare(exit->vmcs, *exit->data, When::kFailedVmEntry);
  if (failure != nullptr && failure->data != nullptr &&
      (failure->instruction == "VMLAUNCH" || failure->instruction == "VMRESUME"))
    compare(failure->vmcs, *failure->data, When::kFailedVmEntry);
  if (entry != nullptr && entry->data != nullptr) {
    compare(entry->vmcs, *entry->data, When::kVmEntry);
  } else if (entry != nullptr) {
    last_.erase(entry->vmcs);  // what L1 has changed cannot be told from what the VM exit will
  }
  next_.on(event);
  if (exit != nullptr && exit->data != nullptr) compare(exit->vmcs, *exit->data, When::kVmExit);
}

void VmcsChanges::compare(uint64_t address, const vmx::Vmcs& now, When when) {
  const auto [last, is_new] = last_.try_emplace(address, now);
  if (is_new) return;
  changes_.clear();
  for (const vmx::FieldInfo& info : vmx::kFields) {
    const bool information = type_of(info.field) == vmx::FieldType::kVmExitInformation;
    if (information && when == When::kFailedVmEntry) continue;
    const uint64_t before = last->second[info.field], after = now[info.field];
    if (before == after) continue;
    changes_.push_back({info.field, before, after});
    last->second.write(info.field, after);
  }
  if (!changes_.empty()) next_.on(VmcsChangeEvent{address, when == When::kVmExit, changes_});
}

}  // namespace nestor::emu
