// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that sleeps with HLT until its timer ticks. The timer is L1's: whenever the guest sleeps,
// L1 lets the time pass and injects the interrupt.
#include "guest-images/lib/console.h"
#include "guest-images/lib/descriptor_tables.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "lost-tick";

enum { kTimerVector = 32, kTicks = 3 };

extern const char guest_entry[], guest_timer_handler[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static InterruptGate guest_idt[kTimerVector + 1];

static Guest guest;
static unsigned ticks;

static void inject_interrupt(uint8_t vector) {
  vmcs_write(kVmEntryInterruptionInformation, EVENT_VALID | EVENT_EXTERNAL_INTERRUPT | vector);
}

static void handle_hlt(void) {
  print("the guest sleeps; tick %u\n", ++ticks);
  vmcs_skip_instruction();
  inject_interrupt(kTimerVector);
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  guest_idt[kTimerVector] = interrupt_gate((uint64_t)guest_timer_handler, 0);
  vmcs_write(kGuestIdtrBase, (uint64_t)guest_idt);
  vmcs_write(kGuestIdtrLimit, sizeof guest_idt - 1);
}

void image_main(void) {
  print("%s: a guest that waits for %u ticks\n", kImage, kTicks);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();

  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitHlt) unexpected_exit(reason);
    handle_hlt();
  }
  print("L1 injected %u ticks, the guest counted %lu\n", ticks, guest.registers.rbx);
  finish(kImage, ticks != kTicks || guest.registers.rbx != kTicks);
}
