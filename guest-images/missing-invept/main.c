// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an INVEPT is for: L1 exchanges the page behind a guest-physical address, and L2 may go on
// seeing the old one.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"
#include "guest-images/missing-invept/guest_layout.h"

static const char kImage[] = "missing-invept";

#define OLD_PAGE_WORD 0x0dd0ull
#define NEW_PAGE_WORD 0x4e3eull
#define GUEST_VPID 1

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint64_t old_page[512] __attribute__((aligned(4096)));
static uint64_t new_page[512] __attribute__((aligned(4096)));

// Two roots over the same tables: two EPTPs, as two guests with shared memory have.
static uint64_t ept_pml4[2][512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[512] __attribute__((aligned(4096)));
static volatile uint64_t ept_pt[512] __attribute__((aligned(4096)));

static GuestRegisters guest;
static bool launched;
static unsigned failures;

// The first GiB mapped to itself in pages of 2 MiB; at the window a table of 4-KiB pages.
static void build_ept(void) {
  for (unsigned i = 0; i < 2; i++) ept_pml4[i][0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < 512; i++) {
    ept_pd[i] = i << 21 | EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  }
  ept_pd[GUEST_WINDOW >> 21] = (uint64_t)ept_pt | EPT_READ_WRITE_EXECUTE;
}

static void put_into_window(const uint64_t* page) {
  ept_pt[0] = page ? (uint64_t)page | EPT_READ | EPT_MEMORY_TYPE_WRITE_BACK : 0;
}

static void invalidate_ept(uint64_t type, uint64_t eptp) {
  if (vmx_invalidate_ept(type, (InvalidationDescriptor){eptp, 0}) != kVmSucceed) {
    give_up("INVEPT failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
}

static uint32_t enter(void) {
  if (vm_enter(&guest, launched) != kVmSucceed) {
    give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  launched = true;
  return (uint32_t)vmcs_read(kExitReason);
}

// Lets L2 read the window. WANTED is what it must see, or 0 where both pages are right.
static void look(const char* when, uint64_t wanted) {
  const uint32_t reason = enter();
  if (reason != kExitVmcall) {
    give_up("expected VMCALL, got %s with qualification %#lx", exit_reason_name(reason),
            vmcs_read(kExitQualification));
  }
  vmcs_skip_instruction();
  const bool old = guest.rax == OLD_PAGE_WORD;
  const bool known = old || guest.rax == NEW_PAGE_WORD;
  const bool right = known && (!wanted || guest.rax == wanted);
  print("%s: L2 sees the %s page%s\n", when,
        !known ? "wrong"
        : old  ? "old"
               : "new",
        !right   ? "  FAIL"
        : wanted ? ", as it must"
        : old    ? ": this processor had kept the translation"
                 : ": this processor had dropped the translation by itself");
  if (!right) failures++;
}

static void fill_vmcs(uint64_t eptp) {
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased2, kCpu2Ept, kCpu2Vpid, "EPT");
  if (controls_offered(kControlsProcessorBased2, kCpu2Vpid)) vmcs_write(kVpid, GUEST_VPID);
  vmcs_write(kEptPointer, eptp);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

static void invalidate_vpid(uint64_t capabilities) {
  const uint64_t needed = VPID_CAP_INVVPID | VPID_CAP_INVVPID_SINGLE;
  if (!controls_offered(kControlsProcessorBased2, kCpu2Vpid) || (capabilities & needed) != needed) {
    print("skipped: invvpid: the processor has no INVVPID of a single context\n");
    return;
  }
  if (vmx_invalidate_vpid(kInvvpidSingleContext, (InvalidationDescriptor){GUEST_VPID, 0}) !=
      kVmSucceed) {
    give_up("INVVPID failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  look("after INVVPID", 0);
}

void image_main(void) {
  print("%s: one guest-physical address, two pages\n", kImage);
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  const uint64_t needed = EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL;
  if ((capabilities & needed) != needed) machine_lacks("both types of INVEPT");
  if (!(capabilities & EPT_CAP_2M_PAGES)) machine_lacks("EPT pages of 2 MiB");
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  build_ept();
  old_page[0] = OLD_PAGE_WORD;
  new_page[0] = NEW_PAGE_WORD;
  const uint64_t eptp = ept_pointer(ept_pml4[0]), other_eptp = ept_pointer(ept_pml4[1]);
  fill_vmcs(eptp);
  invalidate_ept(kInveptAllContexts, 0);

  put_into_window(old_page);
  look("at first", OLD_PAGE_WORD);

  print("L1 puts the new page into the EPT, and forgets INVEPT\n");
  put_into_window(new_page);
  look("after a VM exit and a VM entry", 0);
  invalidate_vpid(capabilities);
  vmcs_write(kEptPointer, other_eptp);
  look("with another EPTP over the same tables", NEW_PAGE_WORD);
  vmcs_write(kEptPointer, eptp);
  look("with the first EPTP again", 0);
  invalidate_ept(kInveptSingleContext, other_eptp);
  look("after INVEPT of the other EPTP", 0);
  invalidate_ept(kInveptSingleContext, eptp);
  look("after INVEPT", NEW_PAGE_WORD);

  print("L1 takes the page away, with INVEPT\n");
  put_into_window(NULL);
  invalidate_ept(kInveptSingleContext, eptp);
  const uint32_t reason = enter();
  print("EPT violation: %s\n", reason == kExitEptViolation ? "yes" : "no  FAIL");
  if (reason != kExitEptViolation) failures++;
  print("L1 gives the old page; what was not present is not cached, so no INVEPT is needed\n");
  put_into_window(old_page);
  look("after the EPT violation", OLD_PAGE_WORD);

  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed || vmx_off() != kVmSucceed) failures++;
  finish(kImage, failures);
}
