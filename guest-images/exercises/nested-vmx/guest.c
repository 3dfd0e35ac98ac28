// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2: tries the VMX instructions that L1 emulates, and runs L3 with them. Nothing to change here.
#include "guest-images/exercises/nested-vmx/guest.h"

#include <stdbool.h>

#include "guest-images/exercises/nested-vmx/exercise.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/vmx_names.h"

enum { kUnsupportedField = 0x6810 };  // guest GS base

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t other_region[4096] __attribute__((aligned(4096)));
static uint8_t bad_region[4096] __attribute__((aligned(4096)));
static uint8_t l3_stack[4096] __attribute__((aligned(16)));
static uint64_t failures;

static void check(bool condition, const char* what) {
  print("  %s: %s\n", condition ? "ok  " : "FAIL", what);
  if (!condition) failures++;
}

static _Noreturn void end(void) {
  for (;;) __asm__ volatile("vmcall" : : "a"(failures) : "memory");
}

static void end_if_failed(void) {
  if (failures) end();
}

static uint64_t field(uint64_t encoding) {
  uint64_t value = 0;
  vmx_read(encoding, &value);
  return value;
}

// Whether an instruction failed with this error in the current VMCS.
static bool failed(VmxResult result, uint32_t error) {
  return result == kVmFailValid && field(kVmInstructionError) == error;
}

static void try_pointers(void) {
  uint64_t value;
  print("L2 enters VMX operation\n");
  check(vmx_on((uint64_t)vmxon_region) == kVmSucceed, "VMXON succeeds");
  check(vmx_read(kGuestRip, &value) == kVmFailInvalid && vmx_write(kGuestRip, 0) == kVmFailInvalid,
        "without a current VMCS, VMREAD and VMWRITE end with VMfailInvalid");
  check(vmx_load_pointer((uint64_t)bad_region) == kVmFailInvalid,
        "so does VMPTRLD with another revision identifier");
  check(vmx_clear((uint64_t)vmcs_region) == kVmSucceed &&
            vmx_clear((uint64_t)other_region) == kVmSucceed,
        "VMCLEAR succeeds");
  check(vmx_load_pointer((uint64_t)vmcs_region) == kVmSucceed, "VMPTRLD succeeds");
  end_if_failed();
}

static void try_fields(void) {
  print("L2 reads and writes its VMCS\n");
  check(vmx_write(kGuestRip, 0x1234) == kVmSucceed && field(kGuestRip) == 0x1234,
        "VMREAD returns what VMWRITE has written");
  check(failed(vmx_write(kExitReason, 1), kErrorReadOnlyField) && field(kExitReason) == 0,
        "VMWRITE does not change a read-only field: error 13");
  uint64_t value;
  check(failed(vmx_write(kUnsupportedField, 1), kErrorUnsupportedField) &&
            failed(vmx_read(kUnsupportedField, &value), kErrorUnsupportedField),
        "there is no such field: error 12");
  check(failed(vmx_load_pointer((uint64_t)vmcs_region + 8), kErrorVmptrldAddress),
        "VMPTRLD with an address that is not aligned: error 9");
  check(failed(vmx_load_pointer((uint64_t)vmxon_region), kErrorVmptrldVmxonPointer),
        "VMPTRLD with the VMXON pointer: error 10");
  check(failed(vmx_load_pointer((uint64_t)bad_region), kErrorVmptrldRevision),
        "VMPTRLD with another revision identifier: error 11");
  check(vmx_load_pointer((uint64_t)other_region) == kVmSucceed && field(kGuestRip) == 0 &&
            vmx_load_pointer((uint64_t)vmcs_region) == kVmSucceed && field(kGuestRip) == 0x1234,
        "each VMCS has fields of its own");
  end_if_failed();
}

static void run_l3(void) {
  print("L2 runs L3\n");
  vmx_write(kGuestRip, (uint64_t)l3_entry);
  vmx_write(kGuestRsp, (uint64_t)(l3_stack + sizeof l3_stack));
  vmx_write(kGuestRflags, 2);
  vmx_write(kHostRip, (uint64_t)vm_exit_point);
  GuestRegisters l3 = {0};
  check(vm_enter(&l3, false) == kVmSucceed, "VMLAUNCH runs L3, which causes a VM exit");
  const uint64_t rip = field(kGuestRip), length = field(kVmExitInstructionLength);
  check(field(kExitReason) == kExitCpuid && length == 2, "L2 sees a CPUID of 2 bytes");
  check(rip > (uint64_t)l3_entry && rip < (uint64_t)l3_lost, "at the RIP of L3's CPUID");
  end_if_failed();

  l3.rbx = 0x1e5503;
  vmx_write(kGuestRip, rip + length);
  check(vm_enter(&l3, true) == kVmSucceed, "VMRESUME goes on");
  check(field(kExitReason) == kExitVmcall && l3.rbx == 0x1e5503,
        "L3 goes on after its CPUID, with L2's answer");
}

void guest_main(void) {
  *(uint32_t*)vmxon_region = *(uint32_t*)vmcs_region = *(uint32_t*)other_region = VMCS12_REVISION;
  *(uint32_t*)bad_region = VMCS12_REVISION + 1;
  try_pointers();
  try_fields();
  run_l3();
  end();
}
