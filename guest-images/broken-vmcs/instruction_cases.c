// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMX instructions that must fail. Source: Intel SDM, "VMX Instruction Reference".
#include "guest-images/broken-vmcs/cases.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_instructions.h"

static uint32_t page_of_another_revision[1024] __attribute__((aligned(4096)));

static Outcome outcome_of(VmxResult result) {
  switch (result) {
    case kVmSucceed:
      return (Outcome){.kind = kSucceeded};
    case kVmFailInvalid:
      return (Outcome){.kind = kFailedInvalid};
    case kVmFailValid:
      break;
  }
  return (Outcome){.kind = kFailedValid, .number = (uint32_t)vmcs_read(kVmInstructionError)};
}

static VmxResult vmxon_in_root(void) { return vmx_on((uint64_t)vmxon_region); }
static VmxResult vmcall_in_root(void) { return vmx_call_in_root(); }
static VmxResult vmclear_misaligned(void) { return vmx_clear((uint64_t)vmcs_region | MISALIGNED); }
static VmxResult vmclear_beyond_width(void) { return vmx_clear(BEYOND_WIDTH); }
static VmxResult vmclear_vmxon_pointer(void) { return vmx_clear((uint64_t)vmxon_region); }
static VmxResult vmptrld_misaligned(void) {
  return vmx_load_pointer((uint64_t)vmcs_region | MISALIGNED);
}
static VmxResult vmptrld_vmxon_pointer(void) { return vmx_load_pointer((uint64_t)vmxon_region); }
static VmxResult vmptrld_revision(void) {
  return vmx_load_pointer((uint64_t)page_of_another_revision);
}

// A 32-bit guest-state encoding far beyond those that exist.
enum { kNoSuchField = 0x49fe };

static VmxResult vmread_unsupported(void) {
  uint64_t value;
  return vmx_read(kNoSuchField, &value);
}
static VmxResult vmwrite_unsupported(void) { return vmx_write(kNoSuchField, 0); }
static VmxResult vmwrite_read_only(void) { return vmx_write(kExitReason, 0); }

static VmxResult invept_type(void) { return vmx_invalidate_ept(0xff, (InvalidationDescriptor){0}); }
static VmxResult invept_pointer(void) {
  return vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){BEYOND_WIDTH, 0});
}
static VmxResult invvpid_type(void) {
  return vmx_invalidate_vpid(0xff, (InvalidationDescriptor){1, 0});
}
static VmxResult invvpid_zero(void) {
  return vmx_invalidate_vpid(kInvvpidSingleContext, (InvalidationDescriptor){0});
}
static VmxResult invvpid_reserved(void) {
  return vmx_invalidate_vpid(kInvvpidSingleContext, (InvalidationDescriptor){1 | 1 << 16, 0});
}

static const char* read_only_fields_writable(void) {
  return read_msr(kMsrVmxMisc) >> 29 & 1 ? "IA32_VMX_MISC[29]: VMWRITE may write any field" : NULL;
}
static const char* lacks(uint64_t needed, const char* why) {
  return (read_msr(kMsrVmxEptVpidCapabilities) & needed) == needed ? NULL : why;
}
static const char* no_invept(void) { return lacks(EPT_CAP_INVEPT, "no INVEPT"); }
static const char* no_invept_single(void) {
  return lacks(EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE, "no single-context INVEPT");
}
static const char* no_vpid(void) {
  return controls_offered(kControlsProcessorBased2, kCpu2Vpid)
             ? lacks(VPID_CAP_INVVPID, "no INVVPID")
             : "no VPID";
}
static const char* no_invvpid_single(void) {
  const char* why = no_vpid();
  return why ? why : lacks(VPID_CAP_INVVPID_SINGLE, "no single-context INVVPID");
}

// With a current VMCS, clear and valid.
static const struct {
  const char *name, *why;
  Outcome expected;
  VmxResult (*execute)(void);
  const char* (*unfit)(void);
} kWithVmcs[] = {
    {"vmxon-in-root", "VMXON needs a processor outside of VMX operation",
     FAILS_WITH(kErrorVmxonInRoot), vmxon_in_root, NULL},
    {"vmcall-in-root", "VMCALL in VMX root operation is for SMM monitors only",
     FAILS_WITH(kErrorVmcallInRoot), vmcall_in_root, NULL},
    {"vmclear-misaligned", "a VMCS pointer must be 4-KiB aligned", FAILS_WITH(kErrorVmclearAddress),
     vmclear_misaligned, NULL},
    {"vmclear-beyond-width", "a VMCS pointer must not exceed the physical-address width",
     FAILS_WITH(kErrorVmclearAddress), vmclear_beyond_width, NULL},
    {"vmclear-vmxon-pointer", "the VMXON region is no VMCS", FAILS_WITH(kErrorVmclearVmxonPointer),
     vmclear_vmxon_pointer, NULL},
    {"vmptrld-misaligned", "a VMCS pointer must be 4-KiB aligned", FAILS_WITH(kErrorVmptrldAddress),
     vmptrld_misaligned, NULL},
    {"vmptrld-vmxon-pointer", "the VMXON region is no VMCS", FAILS_WITH(kErrorVmptrldVmxonPointer),
     vmptrld_vmxon_pointer, NULL},
    {"vmptrld-revision", "a VMCS begins with the VMCS revision identifier",
     FAILS_WITH(kErrorVmptrldRevision), vmptrld_revision, NULL},
    {"vmread-unsupported", "no field has this encoding", FAILS_WITH(kErrorUnsupportedField),
     vmread_unsupported, NULL},
    {"vmwrite-unsupported", "no field has this encoding", FAILS_WITH(kErrorUnsupportedField),
     vmwrite_unsupported, NULL},
    {"vmwrite-read-only", "VM-exit information fields are read-only",
     FAILS_WITH(kErrorReadOnlyField), vmwrite_read_only, read_only_fields_writable},
    {"invept-type", "INVEPT type FFH does not exist", FAILS_WITH(kErrorInvalidation), invept_type,
     no_invept},
    {"invept-eptp", "INVEPT takes only an EPTP with which a VM entry could succeed",
     FAILS_WITH(kErrorInvalidation), invept_pointer, no_invept_single},
    {"invvpid-type", "INVVPID type FFH does not exist", FAILS_WITH(kErrorInvalidation),
     invvpid_type, no_vpid},
    {"invvpid-zero", "VPID 0000H is L1's own", FAILS_WITH(kErrorInvalidation), invvpid_zero,
     no_invvpid_single},
    {"invvpid-reserved", "bits 63:16 of the INVVPID descriptor must be 0",
     FAILS_WITH(kErrorInvalidation), invvpid_reserved, no_invvpid_single},
};

static const Outcome kFailInvalid = FAILS_INVALID;

// VM entries that fail before any field is looked at.
static void run_launch_state_cases(void) {
  valid_vmcs_make();
  report("vmresume-not-launched", "VMRESUME needs a VMCS that was launched",
         (Outcome)FAILS_WITH(kErrorVmresumeNonLaunched), entry_outcome(true));

  const Outcome launched = entry_outcome(false);
  if (launched.kind != kExited || launched.number & 0x80000000)
    give_up("the valid VMCS was not launched");
  report("vmlaunch-not-clear", "VMLAUNCH needs a VMCS whose launch state is clear",
         (Outcome)FAILS_WITH(kErrorVmlaunchNonClear), entry_outcome(false));

  // The host state is broken as well, so that nothing is entered should the blocking be overlooked.
  valid_vmcs_make();
  vmcs_write(kHostCsSelector, 0);
  bool invalid, valid;
  uint64_t scratch;
  __asm__ volatile(
      "mov %%ss, %2\n\t"
      "mov %2, %%ss\n\t"
      "vmlaunch"
      : "=@ccc"(invalid), "=@ccz"(valid), "=&r"(scratch)
      :
      : "memory");
  report("vmlaunch-blocked-by-mov-ss", "no VM entry directly after MOV SS",
         (Outcome)FAILS_WITH(kErrorBlockedByMovSs), outcome_of(VMX_RESULT(invalid, valid)));
}

static void run_without_vmcs(void) {
  uint64_t value;
  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed) give_up("VMCLEAR failed");
  report("vmptrst-no-vmcs",
         "VMCLEAR of the current VMCS leaves no VMCS current: the pointer is FFFFFFFF_FFFFFFFFH",
         (Outcome){.kind = kSucceeded},
         (Outcome){.kind = vmx_store_pointer() == ~0ull ? kSucceeded : kFailedInvalid});
  report("vmlaunch-no-vmcs", "there is no current VMCS, not even for an error number", kFailInvalid,
         entry_outcome(false));
  report("vmread-no-vmcs", "there is no current VMCS", kFailInvalid,
         outcome_of(vmx_read(kGuestRip, &value)));
  report("vmwrite-no-vmcs", "there is no current VMCS", kFailInvalid,
         outcome_of(vmx_write(kGuestRip, 0)));
}

static void run_vmxon_cases(void) {
  if (vmx_off() != kVmSucceed) give_up("VMXOFF failed");
  report("vmxon-misaligned", "the VMXON pointer must be 4-KiB aligned", kFailInvalid,
         outcome_of(vmx_on((uint64_t)vmxon_region | MISALIGNED)));
  report("vmxon-beyond-width", "the VMXON pointer must not exceed the physical-address width",
         kFailInvalid, outcome_of(vmx_on(BEYOND_WIDTH)));
  report("vmxon-revision", "a VMXON region begins with the VMCS revision identifier", kFailInvalid,
         outcome_of(vmx_on((uint64_t)page_of_another_revision)));
  if (vmx_on((uint64_t)vmxon_region) != kVmSucceed) give_up("VMXON failed");
}

void run_instruction_cases(void) {
  page_of_another_revision[0] = ~VMX_BASIC_REVISION(read_msr(kMsrVmxBasic)) & 0x7fffffff;
  valid_vmcs_make();
  for (size_t i = 0; i < sizeof kWithVmcs / sizeof kWithVmcs[0]; i++) {
    const char* unfit = kWithVmcs[i].unfit ? kWithVmcs[i].unfit() : NULL;
    if (unfit) {
      report_skipped(kWithVmcs[i].name, unfit);
      continue;
    }
    report(kWithVmcs[i].name, kWithVmcs[i].why, kWithVmcs[i].expected,
           outcome_of(kWithVmcs[i].execute()));
  }
  run_launch_state_cases();
  run_without_vmcs();
  run_vmxon_cases();
}
