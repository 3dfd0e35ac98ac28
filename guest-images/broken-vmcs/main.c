// SPDX-License-Identifier: GPL-2.0-or-later
//
// A gallery of VM entries and VMX instructions that must fail, each in its own way.
#include "guest-images/broken-vmcs/cases.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "broken-vmcs";

extern const char guest_entry[];  // guest.S

uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[256] __attribute__((aligned(16)));

static uint64_t eptp;
static unsigned passed, failed, skipped;

void valid_vmcs_make(void) {
  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed) give_up("VMCLEAR failed");
  memset(vmcs_region, 0, sizeof vmcs_region);
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, eptp);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

Outcome entry_outcome(bool resume) {
  GuestRegisters guest = {0};
  switch (vm_enter(&guest, resume)) {
    case kVmSucceed:
      return (Outcome){.kind = kExited,
                       .number = (uint32_t)vmcs_read(kExitReason),
                       .qualification = vmcs_read(kExitQualification)};
    case kVmFailInvalid:
      return (Outcome){.kind = kFailedInvalid};
    case kVmFailValid:
      break;
  }
  return (Outcome){.kind = kFailedValid, .number = (uint32_t)vmcs_read(kVmInstructionError)};
}

static bool as_expected(Outcome expected, Outcome actual) {
  if (expected.kind != actual.kind) return false;
  switch (expected.kind) {
    case kSucceeded:
    case kFailedInvalid:
      return true;
    case kFailedValid:
      return actual.number == expected.number ||
             (expected.or_number && actual.number == expected.or_number);
    case kExited:
      return actual.number == expected.number && actual.qualification == expected.qualification;
  }
  return false;
}

static void print_outcome(Outcome outcome) {
  switch (outcome.kind) {
    case kSucceeded:
      print("success");
      break;
    case kFailedInvalid:
      print("VMfailInvalid");
      break;
    case kFailedValid:
      print("VM-instruction error %u, %s", outcome.number,
            vm_instruction_error_name(outcome.number));
      break;
    case kExited:
      print("exit reason %#x, %s, qualification %#lx", outcome.number,
            exit_reason_name(outcome.number), outcome.qualification);
      break;
  }
}

void report(const char* name, const char* why, Outcome expected, Outcome actual) {
  const bool ok = as_expected(expected, actual);
  print("%s %s: ", ok ? "ok  " : "FAIL", name);
  print_outcome(actual);
  if (!ok) {
    print("; expected ");
    print_outcome(expected);
  }
  print("\n     %s\n", why);
  if (ok) {
    passed++;
  } else {
    failed++;
  }
}

void report_skipped(const char* name, const char* why) {
  print("skipped: %s: %s\n", name, why);
  skipped++;
}

static const VmcsField kControlFieldEncodings[] = {
    [kControlsPinBased] = kPinBasedControls,
    [kControlsProcessorBased] = kPrimaryProcessorBasedControls,
    [kControlsProcessorBased2] = kSecondaryProcessorBasedControls,
    [kControlsExit] = kPrimaryVmExitControls,
    [kControlsEntry] = kVmEntryControls,
};

static bool needs_are_offered(const EntryCase* broken) {
  for (size_t i = 0; i < sizeof broken->needs / sizeof broken->needs[0]; i++) {
    if (!controls_offered(broken->needs[i].field, broken->needs[i].bits)) return false;
  }
  return true;
}

static void run_entry_case(const EntryCase* broken) {
  const char* unfit = broken->unfit ? broken->unfit() : NULL;
  if (!unfit && !needs_are_offered(broken))
    unfit = "the processor does not offer the controls for it";
  if (unfit) {
    report_skipped(broken->name, unfit);
    return;
  }
  valid_vmcs_make();
  for (size_t i = 0; i < sizeof broken->needs / sizeof broken->needs[0]; i++) {
    const NeededControls* needed = &broken->needs[i];
    if (!needed->bits) continue;
    const VmcsField field = kControlFieldEncodings[needed->field];
    vmcs_write(field, vmcs_read(field) | needed->bits);
  }
  for (size_t i = 0; i < sizeof broken->changes / sizeof broken->changes[0]; i++) {
    const Change* change = &broken->changes[i];
    if (change->clear || change->set) {
      vmcs_write(change->field, (vmcs_read(change->field) & ~change->clear) | change->set);
    }
  }
  report(broken->name, broken->why, broken->expected, entry_outcome(false));
}

static void run_group(const char* title, EntryCases group) {
  print("-- %s\n", title);
  for (size_t i = 0; i < group.count; i++) run_entry_case(&group.cases[i]);
}

// Every control field against its own capability MSR.
static void run_capability_cases(void) {
  static const struct {
    const char* name;
    ControlField field;
    bool required;  // clear a bit that must be 1, or set one that must be 0
  } kRows[] = {
      {"pin-based-must-be-1", kControlsPinBased, true},
      {"pin-based-must-be-0", kControlsPinBased, false},
      {"processor-based-must-be-1", kControlsProcessorBased, true},
      {"processor-based-must-be-0", kControlsProcessorBased, false},
      {"processor-based-2-must-be-0", kControlsProcessorBased2, false},
      {"exit-must-be-1", kControlsExit, true},
      {"exit-must-be-0", kControlsExit, false},
      {"entry-must-be-1", kControlsEntry, true},
      {"entry-must-be-0", kControlsEntry, false},
  };
  print("-- control fields against the capability MSRs\n");
  for (size_t i = 0; i < sizeof kRows / sizeof kRows[0]; i++) {
    const AllowedSettings allowed = controls_allowed(kRows[i].field);
    const uint32_t candidates = kRows[i].required ? allowed.must_be_one : ~allowed.may_be_one;
    if (!candidates) {
      report_skipped(kRows[i].name, "every bit may have either value");
      continue;
    }
    const uint32_t lowest = candidates & -candidates;
    EntryCase broken = {.name = kRows[i].name,
                        .why = kRows[i].required ? "the capability MSR says that the bit must be 1"
                                                 : "the capability MSR says that the bit must be 0",
                        .expected = FAILS_WITH(kErrorControls)};
    broken.changes[0] =
        (Change){kControlFieldEncodings[kRows[i].field], lowest, kRows[i].required ? 0 : lowest};
    run_entry_case(&broken);
  }
}

// The VMCS that all cases start from must itself be good.
static void run_valid_case(const char* name) {
  valid_vmcs_make();
  report(name, "nothing is broken: L2 runs, and executes VMCALL",
         (Outcome){.kind = kExited, .number = kExitVmcall}, entry_outcome(false));
}

void image_main(void) {
  print("%s: VM entries that must fail\n", kImage);
  vmx_operation_enter(vmxon_region);
  eptp = ept_identity_map();

  run_valid_case("valid-at-first");
  run_capability_cases();
  run_group("VMX controls", control_cases());
  run_group("event injection", injection_cases());
  run_group("host state", host_state_cases());
  run_group("guest state: registers and non-register state", guest_state_cases());
  run_group("guest state: segments and descriptor tables", guest_segment_cases());
  run_group("VM-entry MSR loading", msr_loading_cases());
  print("-- VMX instructions\n");
  run_instruction_cases();
  run_valid_case("valid-at-last");

  print("%u ok, %u failed, %u skipped\n", passed, failed, skipped);
  finish(kImage, failed);
}
