// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that tries out what its processor has. L1 answers for the processor: VMX there is none,
// and of the MSRs a few.
#include "guest-images/lib/console.h"
#include "guest-images/lib/descriptor_tables.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "unanswered-probe";

enum { kInvalidOpcode = 6, kGeneralProtection = 13, kVectors = 32 };

extern const char guest_entry[], guest_invalid_opcode[], guest_general_protection[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static InterruptGate guest_idt[kVectors];

static Guest guest;

static void inject_exception(uint8_t vector, uint32_t error_code) {
  uint32_t event = EVENT_VALID | EVENT_EXCEPTION | vector;
  if (error_code) {
    event |= EVENT_ERROR_CODE;
    vmcs_write(kVmEntryExceptionErrorCode, error_code);
  }
  vmcs_write(kVmEntryInterruptionInformation, event);
}

static void handle_rdmsr(void) {
  const uint32_t msr = (uint32_t)guest.registers.rcx;
  uint64_t value;
  switch (msr) {
    case kMsrPat:
      value = 0x0007040600070406;
      break;
    case kMsrSysenterCs:
      value = 0;
      break;
    default:
      print("MSR %#x: #GP for the guest\n", msr);
      inject_exception(kGeneralProtection, 0);
      return;
  }
  print("MSR %#x: %#lx\n", msr, value);
  guest.registers.rax = (uint32_t)value;
  guest.registers.rdx = value >> 32;
  vmcs_skip_instruction();
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  guest_idt[kInvalidOpcode] = interrupt_gate((uint64_t)guest_invalid_opcode, 0);
  guest_idt[kGeneralProtection] = interrupt_gate((uint64_t)guest_general_protection, 0);
  vmcs_write(kGuestIdtrBase, (uint64_t)guest_idt);
  vmcs_write(kGuestIdtrLimit, sizeof guest_idt - 1);
}

void image_main(void) {
  print("%s: a guest that probes its processor\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();

  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    switch (reason) {
      case kExitRdmsr:
        handle_rdmsr();
        break;
      case kExitVmxoff:
        print("a VMX instruction: #UD for the guest\n");
        inject_exception(kInvalidOpcode, 0);
        break;
      default:
        unexpected_exit(reason);
    }
  }
  print("the guest found %lu MSRs, met %lu #GP and %lu #UD\n", guest.registers.rbx,
        guest.registers.rsi, guest.registers.rdi);
  finish(kImage, guest.registers.rbx != 2 || guest.registers.rsi != 2 || guest.registers.rdi != 1);
}
