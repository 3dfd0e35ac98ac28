// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0 keeps in memory of VMCS12: its MSR bitmap joined with L0's, and a shadow VMCS.
#include <array>

#include "emu/l0/hypervisor.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

using vmx::Field;

}  // namespace

void Hypervisor::join_msr_bitmaps() {
  const Vmcs& vmcs12 = nested().current_vmcs();
  if (!vmcs12.has(vmx::PrimaryProcBased::kUseMsrBitmaps)) return;
  std::array<uint8_t, kPageSize> mine{}, theirs{};
  hardware().read_physical({structures_.msr_bitmap01}, mine);
  core_.read_physical({vmcs12[Field::kMsrBitmaps]}, theirs);
  for (size_t i = 0; i < kPageSize; ++i) mine[i] = static_cast<uint8_t>(mine[i] | theirs[i]);
  hardware().write_physical({structures_.msr_bitmap02}, mine);
}

void Hypervisor::publish_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  Vmcs copy = nested().current_vmcs();
  copy.revision_id = processor().capabilities().revision_id;
  copy.shadow = true;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  copy.store(region);
  hardware().write_physical({structures_.shadow_vmcs}, region);
}

void Hypervisor::fetch_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  hardware().read_physical({structures_.shadow_vmcs}, region);
  Vmcs copy;
  copy.load(region);
  Vmcs& vmcs12 = nested().edit_current_vmcs();
  for (const vmx::FieldInfo& info : vmx::kFields) vmcs12.write(info.field, copy[info.field]);
}

// Without a current VMCS12, and outside VMX operation, VMREAD and VMWRITE exit: what they come to
// is L1's processor to say.
void Hypervisor::update_vmcs_shadowing() {
  const bool shadows = nested().in_vmx_operation() && nested().current_vmcs_pointer();
  const uint64_t control = mask(vmx::SecondaryProcBased::kVmcsShadowing);
  const uint64_t others = vmcs()[Field::kSecondaryProcBasedControls] & ~control;
  vmcs().write(Field::kSecondaryProcBasedControls, shadows ? others | control : others);
  vmcs().write(Field::kVmcsLinkPointer, shadows ? structures_.shadow_vmcs : ~0ull);
}

}  // namespace nestor::emu
