// SPDX-License-Identifier: GPL-2.0-or-later
//
// Calls the exercise, twice, and says what is missing. Nothing to change here.
#include <stdbool.h>

#include "guest-images/exercises/enter-vmx/exercise.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_controls.h"

static const char kImage[] = "enter-vmx";

enum { kCpuid1EcxVmx = 1 << 5 };

static uint8_t region[4096] __attribute__((aligned(4096)));
static uint8_t own_region[4096] __attribute__((aligned(4096)));
static unsigned failures;

static bool check(bool condition, const char* what) {
  print("  %s: %s\n", condition ? "ok  " : "FAIL", what);
  if (!condition) failures++;
  return condition;
}

// Whether VALUE has all bits that FIXED0 has, and none that FIXED1 lacks.
static bool allowed(uint64_t value, uint32_t fixed0, uint32_t fixed1) {
  return (value & read_msr(fixed0)) == read_msr(fixed0) && (value & ~read_msr(fixed1)) == 0;
}

// In VMX operation another VMXON fails; outside, it succeeds, and is undone. Safe only where all
// else is as VMXON wants it.
static bool in_vmx_operation(void) {
  *(uint32_t*)own_region = VMX_BASIC_REVISION(read_msr(kMsrVmxBasic));
  if (vmx_on((uint64_t)own_region) != kVmSucceed) return true;
  vmx_off();
  return false;
}

static void attempt(const char* when) {
  print("%s\n", when);
  memset(region, 0, sizeof region);
  write_cr0(read_cr0() & ~(uint64_t)kCr0Ne);  // as some firmware leaves it

  const VmxResult entered = enter_vmx_operation(region);
  const uint64_t enabled = kFeatureControlLock | kFeatureControlVmxOutsideSmx;
  bool ready = check((read_msr(kMsrFeatureControl) & enabled) == enabled,
                     "IA32_FEATURE_CONTROL is locked, with VMX outside SMX enabled");
  ready &= check(read_cr4() & kCr4Vmxe, "CR4.VMXE is 1");
  ready &= check(allowed(read_cr4(), kMsrVmxCr4Fixed0, kMsrVmxCr4Fixed1),
                 "CR4 has the bits that VMX operation demands");
  ready &= check(allowed(read_cr0(), kMsrVmxCr0Fixed0, kMsrVmxCr0Fixed1),
                 "CR0 has the bits that VMX operation demands");
  check(*(const uint32_t*)region == VMX_BASIC_REVISION(read_msr(kMsrVmxBasic)),
        "the VMXON region begins with the VMCS revision identifier");
  check(entered == kVmSucceed, "VMXON succeeded");
  check(ready && in_vmx_operation(), "the processor is in VMX operation");
  if (failures) finish(kImage, failures);

  check(leave_vmx_operation() == kVmSucceed, "VMXOFF succeeded");
  check(!(read_cr4() & kCr4Vmxe), "CR4.VMXE is 0 again");
  if (failures) finish(kImage, failures);
  write_cr4(read_cr4() | kCr4Vmxe);
  check(!in_vmx_operation(), "the processor has left VMX operation");
  write_cr4(read_cr4() & ~(uint64_t)kCr4Vmxe);
}

void image_main(void) {
  if (!(cpuid(1, 0).ecx & kCpuid1EcxVmx)) machine_lacks("VMX (CPUID.1:ECX.VMX)");
  print("%s: into VMX operation, and out of it\n", kImage);
  attempt("the first time");
  attempt("once more, with IA32_FEATURE_CONTROL locked");
  finish(kImage, failures);
}
