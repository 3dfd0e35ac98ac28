// SPDX-License-Identifier: GPL-2.0-or-later
//
// The second processor: a hypervisor that writes down why its guest stops. It prints nothing, as
// the console belongs to the first processor.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"
#include "guest-images/two-processors/apic.h"
#include "guest-images/two-processors/shared.h"

extern const char guest_entry[];  // guest.S

enum { kActive = 0, kWaitForSipi = 3 };

ExitRecord exit_records[kMostExits];
volatile uint32_t guest_stage, exits_handled, second_id, start_ups;
volatile bool in_root_operation, init_sent, init_survived, restart_expected;

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  // What other processors send shall stop the guest; its HLT shall not.
  controls_write(kControlsPinBased, kPinExternalInterruptExiting | kPinNmiExiting, 0,
                 "external-interrupt exiting and NMI exiting");
  controls_write(kControlsProcessorBased, CPU_ACTIVATE_SECONDARY, 0, "secondary controls");
  controls_write(kControlsExit, kExitHostAddressSpaceSize | kExitAcknowledgeInterrupt,
                 kExitSaveEfer | kExitLoadEfer, "acknowledging interrupts on exit");
  vmcs_write(kEptPointer, ept_identity_map());
  // This processor has never loaded TR. Its host state names the task-state segment of the first
  // one, and the first VM exit loads it.
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

// Prepares what the guest does next.
static void handle(uint32_t reason) {
  // The interrupt was acknowledged by the VM exit, so it is in service.
  if (reason == kExitExternalInterrupt) write_msr(kMsrApicEoi, 0);
  const bool waits = reason == kExitInit && VMX_MISC_WAIT_FOR_SIPI(read_msr(kMsrVmxMisc));
  // A VM exit saves the activity state that it ended: without this the guest would halt again.
  vmcs_write(kGuestActivityState, waits ? kWaitForSipi : kActive);
}

static void run_guest(void) {
  GuestRegisters guest = {0};
  for (uint32_t exits = 0; exits < kMostExits; exits++) {
    if (vm_enter(&guest, exits != 0) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
    exit_records[exits] = (ExitRecord){
        .reason = reason,
        .interruption = (uint32_t)vmcs_read(kVmExitInterruptionInformation),
        .activity = (uint32_t)vmcs_read(kGuestActivityState),
        .qualification = vmcs_read(kExitQualification),
    };
    handle(reason);
    exits_handled = exits + 1;
    if (reason == kExitVmcall) return;
  }
  give_up("the guest did not come to its end");
}

void second_processor(void) {
  apic_enable();
  second_id = (uint32_t)read_msr(kMsrApicId);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();
  run_guest();
  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed) give_up("VMCLEAR failed");

  in_root_operation = true;
  while (!init_sent) pause();
  // INIT is blocked in VMX root operation: this still runs.
  init_survived = true;
  while (!restart_expected) pause();
  vmx_off();
  // The INIT was only waiting for VMXOFF.
  give_up("INIT was lost: VMXOFF did not let it in");
}
