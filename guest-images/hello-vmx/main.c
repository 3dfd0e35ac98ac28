// SPDX-License-Identifier: GPL-2.0-or-later
//
// The smallest hypervisor that does everything in the open: from CPUID's VMX bit to two VM exits.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "hello-vmx";

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

// What L1 answers to L2's CPUID leaf 40000000H, where hypervisors put their signature: EBX, ECX,
// EDX.
static const char kSignature[13] = "hello-vmx-L1";

static uint32_t signature_word(unsigned index) {
  uint32_t word = 0;
  for (unsigned i = 0; i < 4; i++) word |= (uint32_t)(uint8_t)kSignature[4 * index + i] << (8 * i);
  return word;
}

// What the capability MSRs say, before anything depends on it.
static void print_capabilities(void) {
  const uint64_t basic = read_msr(kMsrVmxBasic);
  print("VMCS revision identifier %#x, region of %u bytes, memory type %u, true controls: %s\n",
        VMX_BASIC_REVISION(basic), VMX_BASIC_REGION_BYTES(basic), VMX_BASIC_MEMORY_TYPE(basic),
        VMX_BASIC_TRUE_CONTROLS(basic) ? "yes" : "no");
  static const struct {
    ControlField field;
    const char* name;
  } kRows[] = {
      {kControlsPinBased, "pin-based"},
      {kControlsProcessorBased, "primary processor-based"},
      {kControlsProcessorBased2, "secondary processor-based"},
      {kControlsExit, "VM-exit"},
      {kControlsEntry, "VM-entry"},
  };
  for (unsigned i = 0; i < sizeof kRows / sizeof kRows[0]; i++) {
    const AllowedSettings allowed = controls_allowed(kRows[i].field);
    print("%-25s controls: must be 1 %#010x, may be 1 %#010x\n", kRows[i].name, allowed.must_be_one,
          allowed.may_be_one);
  }
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

// Enters L2, expects the exit EXPECTED, prints it.
static void run_until(uint32_t expected, GuestRegisters* guest, bool resume) {
  const VmxResult result = vm_enter(guest, resume);
  if (result == kVmFailValid) {
    give_up("%s failed: %s", resume ? "VMRESUME" : "VMLAUNCH",
            vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  if (result == kVmFailInvalid) give_up("VM entry failed: no current VMCS");

  const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
  print("VM exit: %s (reason %u), instruction of %lu bytes\n", exit_reason_name(reason),
        reason & 0xffff, vmcs_read(kVmExitInstructionLength));
  if (reason != expected) {
    give_up("expected exit reason %u, got %#x with qualification %#lx at RIP %#lx", expected,
            reason, vmcs_read(kExitQualification), vmcs_read(kGuestRip));
  }
}

void image_main(void) {
  print("%s: one guest, two exits\n", kImage);
  vmx_operation_enter(vmxon_region);
  print("in VMX operation\n");
  print_capabilities();
  vmcs_make_current(vmcs_region);
  fill_vmcs();

  unsigned failures = 0;
  GuestRegisters guest = {0};

  run_until(kExitCpuid, &guest, false);
  print("  L2 asks for leaf %#lx; L1 answers \"%s\"\n", guest.rax, kSignature);
  if (guest.rax != 0x40000000) failures++;
  guest.rax = 0x40000000;
  guest.rbx = signature_word(0);
  guest.rcx = signature_word(1);
  guest.rdx = signature_word(2);
  vmcs_skip_instruction();

  run_until(kExitVmcall, &guest, true);
  const bool intact = guest.rax == 0x40000000 && guest.rbx == signature_word(0) &&
                      guest.rcx == signature_word(1) && guest.rdx == signature_word(2);
  print("  L2 hands back the signature: %s\n", intact ? "intact" : "damaged");
  if (!intact) failures++;

  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed || vmx_off() != kVmSucceed) failures++;
  print("left VMX operation\n");
  finish(kImage, failures);
}
