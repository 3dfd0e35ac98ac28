// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1 reads MSRs for its guest. Whether there is an MSR, only reading it shows: L1 handles the #GP
// itself, on a stack of its own (IST2).
#include <stdbool.h>

#include "guest-images/lib/console.h"
#include "guest-images/lib/descriptor_tables.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "sudden-death";

enum { kGeneralProtection = 13, kFaultStack = 2, kNoSuchMsr = 0x12345 };

extern const char guest_entry[];                      // guest.S
bool read_msr_safely(uint32_t msr, uint64_t* value);  // safe_msr.S
extern const char read_msr_fault[];                   // safe_msr.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint8_t fault_stack[4096] __attribute__((aligned(16)));

// From now on a #GP of RDMSR in read_msr_safely() makes it return false.
static void handle_faults(void) {
  TaskStateSegment* tss = (TaskStateSegment*)tss_base();
  tss->ist[kFaultStack - 1] = (uint64_t)(fault_stack + sizeof fault_stack);
  InterruptGate* idt = (InterruptGate*)read_idtr().base;
  idt[kGeneralProtection] = interrupt_gate((uint64_t)read_msr_fault, kFaultStack);
}

// Base of the segment of a system descriptor: 16 bytes, the base in four pieces.
static uint64_t system_segment_base(uint16_t selector) {
  const uint64_t* descriptor = (const uint64_t*)(read_gdtr().base + selector);
  const uint64_t low = descriptor[0] >> 16 & 0xffff;
  const uint64_t middle = descriptor[0] >> 32 & 0xff;
  const uint64_t high = descriptor[0] >> 56;
  return low | middle << 8 | high << 24 | descriptor[1] << 32;
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write(kHostTrBase, system_segment_base(SELECTOR_TSS));
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

void image_main(void) {
  print("%s: MSRs for a guest\n", kImage);
  handle_faults();
  uint64_t value;
  const bool there = read_msr_safely(kNoSuchMsr, &value);
  print("L1 tries MSR %#x: %s\n", kNoSuchMsr, there ? "there" : "not there");
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();

  unsigned answered = 0;
  Guest guest = {0};
  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitRdmsr) unexpected_exit(reason);
    const uint32_t msr = (uint32_t)guest.registers.rcx;
    const bool known = read_msr_safely(msr, &value);
    print("the guest reads MSR %#x: %s\n", msr, known ? "there" : "not there");
    guest.registers.rax = known ? (uint32_t)value : 0;
    guest.registers.rdx = known ? value >> 32 : 0;
    answered++;
    vmcs_skip_instruction();
  }
  print("L1 answered %u times\n", answered);
  finish(kImage, there || answered != 3);
}
