// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs L2, lets the exercise handle its VM exits, and looks at what L2 saw. Nothing to change here.
#include "guest-images/exercises/handle-exits/exercise.h"
#include "guest-images/exercises/handle-exits/guest_ports.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "handle-exits";
static const char kText[] = "L2 says hello";

enum { kExits = 19, kTooManyExits = 100 };
enum { kCpuid1EcxVmx = 1 << 5 };
#define CPUID_1_ECX_HYPERVISOR (1u << 31)

extern const char guest_entry[];  // guest.S
// The order in which guest.S writes.
extern const struct {
  uint32_t signature[4];
  uint32_t leaf1_eax, leaf1_ecx, leaf1_edx, unused;
  uint64_t rax_after_in8, rax_after_in16, rax_after_in32;
} guest_saw;

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static char text[sizeof kText];
static unsigned letters, failures;

void console_letter(char letter) {
  if (letters < sizeof text - 1) text[letters] = letter;
  letters++;
}

static void check(bool condition, const char* what) {
  print("  %s: %s\n", condition ? "ok  " : "FAIL", what);
  if (!condition) failures++;
}

static bool same(const char* a, const char* b, unsigned length) {
  for (unsigned i = 0; i < length; i++) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

static void run_guest(void) {
  GuestRegisters guest = {0};
  for (unsigned exits = 0;; exits++) {
    if (vm_enter(&guest, exits != 0) != kVmSucceed) {
      give_up("%s: FAIL: %s", kImage, vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
    const uint64_t rip = vmcs_read(kGuestRip);
    if (exits == kTooManyExits) {
      give_up("%s: FAIL: %u VM exits, the last is %s at RIP %#lx: does L2 get on?", kImage, exits,
              exit_reason_name(reason), rip);
    }
    switch (handle_exit(reason, &guest)) {
      case kGoOn:
        break;
      case kGuestEnd:
        print("L2 has ended after %u VM exits\n", exits + 1);
        check(reason == kExitHlt, "its last exit is HLT");
        check(exits + 1 == kExits, "it had 19 VM exits: 2 by CPUID, 13 by OUT, 3 by IN, 1 by HLT");
        return;
      default:
        give_up("%s: FAIL: nobody handles %s (exit reason %u), qualification %#lx, at RIP %#lx",
                kImage, exit_reason_name(reason), reason & 0xffff, vmcs_read(kExitQualification),
                rip);
    }
  }
}

void image_main(void) {
  print("%s: a guest with a machine around it\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased,
                 kCpuHltExiting | kCpuUnconditionalIoExiting | CPU_ACTIVATE_SECONDARY, 0,
                 "unconditional I/O exiting");
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  run_guest();

  const CpuidResult leaf1 = cpuid(1, 0);
  check(guest_saw.signature[0] == 0x40000000 &&
            same((const char*)&guest_saw.signature[1], "lesson two\0", 12),
        "CPUID leaf 40000000H is 40000000H and \"lesson two\"");
  check(guest_saw.leaf1_eax == leaf1.eax && guest_saw.leaf1_edx == leaf1.edx,
        "EAX and EDX of CPUID leaf 1 are the processor's");
  check(!(guest_saw.leaf1_ecx & kCpuid1EcxVmx), "ECX of CPUID leaf 1 does not offer VMX");
  check(guest_saw.leaf1_ecx & CPUID_1_ECX_HYPERVISOR, "ECX of CPUID leaf 1 says: a hypervisor");
  check(((guest_saw.leaf1_ecx ^ leaf1.ecx) & ~(kCpuid1EcxVmx | CPUID_1_ECX_HYPERVISOR)) == 0,
        "the rest of ECX of CPUID leaf 1 is the processor's");
  check(letters == sizeof kText - 1 && same(text, kText, sizeof kText),
        "the console has \"L2 says hello\"");
  check(guest_saw.rax_after_in8 == (RAX_BEFORE_IN & ~0xffull) + STATUS_READY,
        "IN of a byte changes bits 7:0 of RAX");
  check(guest_saw.rax_after_in16 == (RAX_BEFORE_IN | 0xffff),
        "IN of a word changes bits 15:0 of RAX");
  check(guest_saw.rax_after_in32 == 0xffffffff, "IN of a doubleword makes bits 63:32 of RAX zero");
  finish(kImage, failures);
}
