// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that runs from exit to exit, for images to which a VM entry that fails is the end.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/lib/vmx_instructions.h"

typedef struct {
  GuestRegisters registers;
  bool launched;  // the current VMCS
} Guest;

// Enters the guest with the current VMCS and returns the exit reason. Ends the image if the VM
// entry fails, with the number of its error or exit reason.
uint32_t vm_run(Guest* guest);

// For a VM exit that L1 does not handle: names it and ends the image.
_Noreturn void unexpected_exit(uint32_t reason);
