// SPDX-License-Identifier: GPL-2.0-or-later
//
// The exercise: be the machine of a guest that executes CPUID, IN, OUT and HLT.
#include "guest-images/exercises/handle-exits/exercise.h"
#include "guest-images/exercises/handle-exits/guest_ports.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

Decision handle_exit(uint32_t reason, GuestRegisters* guest) {
  // Your code, in place of these lines. L2 shall see a machine like this:
  //   CPUID   leaf 1 is the processor's, but with ECX bit 5 (VMX) 0 and ECX bit 31 (a hypervisor is
  //           present) 1; leaf 40000000H is EAX = 40000000H and "lesson two" in EBX, ECX and EDX,
  //           the first letter lowest, and two zeros at the end; other leaves are the processor's.
  //   OUT     a byte to PORT_CONSOLE is a letter for console_letter().
  //   IN      a byte from PORT_STATUS is STATUS_READY; from other ports all bits are ones.
  //   HLT     ends the guest: return kGuestEnd.
  // The exit qualification of an I/O instruction has its size, direction and port: Intel SDM,
  // "Basic VM-Exit Information", table "Exit Qualification for I/O Instructions". Think of RIP, and
  // of what IN leaves in the rest of RAX.
  (void)reason;
  (void)guest;
  return kUnknown;
}
