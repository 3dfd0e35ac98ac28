// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/vm_run.h"

#include "guest-images/lib/console.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

uint32_t vm_run(Guest* guest) {
  const char* const instruction = guest->launched ? "VMRESUME" : "VMLAUNCH";
  switch (vm_enter(&guest->registers, guest->launched)) {
    case kVmSucceed:
      break;
    case kVmFailInvalid:
      give_up("%s failed: no current VMCS", instruction);
    case kVmFailValid:
      give_up("%s failed: VM-instruction error %lu", instruction, vmcs_read(kVmInstructionError));
  }
  guest->launched = true;
  const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
  if (reason & EXIT_REASON_ENTRY_FAILURE) {
    give_up("%s failed: exit reason %#x, qualification %#lx", instruction, reason,
            vmcs_read(kExitQualification));
  }
  return reason;
}

void unexpected_exit(uint32_t reason) {
  give_up("unexpected VM exit: %s (reason %u), qualification %#lx, RIP %#lx",
          exit_reason_name(reason), reason, vmcs_read(kExitQualification), vmcs_read(kGuestRip));
}
