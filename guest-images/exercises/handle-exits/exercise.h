// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c have of each other.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/lib/vmx_instructions.h"

typedef enum {
  kGoOn,      // VMRESUME
  kGuestEnd,  // L2 has halted, and nothing will wake it
  kUnknown,   // an exit that is not handled
} Decision;

// Handles one VM exit of L2, of basic exit reason REASON. GUEST has L2's general-purpose registers
// but RSP, which is in the VMCS as RIP and RFLAGS are.
Decision handle_exit(uint32_t reason, GuestRegisters* guest);

// The console behind PORT_CONSOLE; from check.c.
void console_letter(char letter);
