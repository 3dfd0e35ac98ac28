// SPDX-License-Identifier: GPL-2.0-or-later
//
// Exit reasons and VM-instruction errors, by number and name.
#pragma once

#include <stdint.h>

enum {
  kExitExceptionOrNmi = 0,
  kExitExternalInterrupt = 1,
  kExitInit = 3,
  kExitSipi = 4,
  kExitCpuid = 10,
  kExitHlt = 12,
  kExitInvlpg = 14,
  kExitVmcall = 18,
  kExitVmclear = 19,
  kExitVmlaunch = 20,
  kExitVmptrld = 21,
  kExitVmread = 23,
  kExitVmresume = 24,
  kExitVmwrite = 25,
  kExitVmxoff = 26,
  kExitVmxon = 27,
  kExitCrAccess = 28,
  kExitIoInstruction = 30,
  kExitRdmsr = 31,
  kExitWrmsr = 32,
  kExitInvalidGuestState = 33,
  kExitMsrLoading = 34,
  kExitEptViolation = 48,
  kExitEptMisconfiguration = 49,
  kExitPmlFull = 62,
};

// Exit reason field, bit 31: the VM entry failed after its checks on controls and host state.
#define EXIT_REASON_ENTRY_FAILURE 0x80000000u

// Name of a basic exit reason, as the appendix "VMX Basic Exit Reasons" of the Intel SDM prints it;
// "reserved" for others.
const char* exit_reason_name(uint32_t exit_reason);

// What a VM-instruction error number means, after the SDM's section "VM Instruction Error Numbers".
const char* vm_instruction_error_name(uint64_t error);
