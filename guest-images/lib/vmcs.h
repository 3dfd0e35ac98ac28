// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMX operation and the parts of a VMCS that every image fills in the same way.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/lib/vmcs_fields.h"
#include "guest-images/lib/vmx_controls.h"

// Ends the image unless the processor offers VMX. Enables it in IA32_FEATURE_CONTROL as firmware
// would, adjusts CR0 and CR4 to what VMX operation demands, and executes VMXON with REGION (one
// page).
void vmx_operation_enter(void* region);

// Writes the revision identifier into REGION (one page), makes it a clear, current VMCS.
void vmcs_make_current(void* region);

// VMREAD and VMWRITE that must succeed; otherwise the image ends with the field and the error.
uint64_t vmcs_read(VmcsField field);
void vmcs_write(VmcsField field, uint64_t value);

// The five control fields that have a capability MSR.
typedef enum {
  kControlsPinBased,
  kControlsProcessorBased,
  kControlsProcessorBased2,
  kControlsExit,
  kControlsEntry,
} ControlField;

// Which bits of FIELD must be 1 (allowed-0 settings) and may be 1 (allowed-1 settings); from the
// TRUE capability MSR if there is one. A processor without secondary controls allows none.
typedef struct {
  uint32_t must_be_one, may_be_one;
} AllowedSettings;
AllowedSettings controls_allowed(ControlField field);

// WANTED plus what the processor insists upon, less what it does not offer.
uint32_t controls_adjust(ControlField field, uint32_t wanted);

// Whether the processor lets all of BITS be 1.
bool controls_offered(ControlField field, uint32_t bits);

// Writes FIELD with all of NEEDED, and those of OPTIONAL that are offered. Ends the image, naming
// PURPOSE, if NEEDED is not offered.
void controls_write(ControlField field, uint32_t needed, uint32_t optional, const char* purpose);

// Host state = this processor's present state; VM exits arrive in vm_enter().
void vmcs_write_host_state(void);

// Guest state of a flat 64-bit guest at CPL 0 that shares L1's page tables and GDT.
void vmcs_write_guest_state_64bit(uint64_t rip, uint64_t rsp);

// No exception exits, no event is injected; the MSR lists and the list of CR3 targets are empty.
void vmcs_write_no_exceptions_and_lists(void);

// All controls but EPT, VPID and the like set to "intercept nothing that need not be"; secondary
// controls NEEDED2.
void vmcs_write_controls_64bit(uint32_t needed2);

// Advances the guest past the instruction that caused the exit.
void vmcs_skip_instruction(void);
