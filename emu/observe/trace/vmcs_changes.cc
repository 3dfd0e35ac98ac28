// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/vmcs_changes.h"

#include "vmx/fields.h"

namespace nestor::emu {

void VmcsChanges::on(const MachineEvent& event) {
  const auto* const entry = std::get_if<vmx::VmEntryEvent>(&event);
  const auto* const exit = std::get_if<vmx::VmExitEvent>(&event);
  if (entry != nullptr && entry->data != nullptr) {
    compare(entry->vmcs, *entry->data, false);
  } else if (entry != nullptr) {
    last_.erase(entry->vmcs);  // what L1 has changed cannot be told from what the VM exit will
  }
  next_.on(event);
  if (exit != nullptr && exit->data != nullptr) compare(exit->vmcs, *exit->data, true);
}

void VmcsChanges::compare(uint64_t address, const vmx::Vmcs& now, bool by_vm_exit) {
  const auto [last, is_new] = last_.try_emplace(address, now);
  if (is_new) return;
  changes_.clear();
  for (const vmx::FieldInfo& info : vmx::kFields) {
    const uint64_t before = last->second[info.field], after = now[info.field];
    if (before != after) changes_.push_back({info.field, before, after});
  }
  last->second = now;
  if (!changes_.empty()) next_.on(VmcsChangeEvent{address, by_vm_exit, changes_});
}

}  // namespace nestor::emu
