// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VMCS that passes every check: a 64-bit guest and host on Nestor's own processor.
#pragma once

#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

inline vmx::Vmcs valid_vmcs() {
  using vmx::Field;
  const vmx::Capabilities offered = vmx::nestor_capabilities();
  vmx::Vmcs vmcs;
  vmcs.revision_id = offered.revision_id;
  vmcs.write(Field::kPinBasedControls, offered.pin.must_be_one());
  vmcs.write(Field::kPrimaryProcBasedControls, offered.primary.must_be_one());
  vmcs.write(Field::kVmExitControls,
             offered.exit.must_be_one() | mask(vmx::VmExitControl::kHostAddressSpaceSize));
  vmcs.write(Field::kVmEntryControls,
             offered.entry.must_be_one() | mask(vmx::VmEntryControl::kIa32eModeGuest));
  vmcs.write(Field::kVmcsLinkPointer, ~0ull);
  for (const Field cr0 : {Field::kGuestCr0, Field::kHostCr0}) vmcs.write(cr0, 0x80000031);
  for (const Field cr4 : {Field::kGuestCr4, Field::kHostCr4}) vmcs.write(cr4, 0x2020);
  for (const Field cr3 : {Field::kGuestCr3, Field::kHostCr3}) vmcs.write(cr3, 0x1000);
  vmcs.write(Field::kHostCsSelector, 8);
  vmcs.write(Field::kHostTrSelector, 16);
  for (uint8_t i = 0; i < vmx::kSegmentCount; ++i)
    vmcs.write(vmx::guest_access_rights(i), vmx::AccessRights::kUnusable);
  vmcs.write(Field::kGuestCsSelector, 8);
  vmcs.write(Field::kGuestCsAccessRights, 0xa09b);
  vmcs.write(Field::kGuestCsLimit, 0xffffffff);
  vmcs.write(Field::kGuestTrSelector, 16);
  vmcs.write(Field::kGuestTrAccessRights, 0x8b);
  vmcs.write(Field::kGuestTrLimit, 0x67);
  vmcs.write(Field::kGuestRflags, 2);
  vmcs.write(Field::kGuestDr7, 0x400);
  return vmcs;
}

}  // namespace nestor::emu
