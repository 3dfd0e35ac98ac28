// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hypervisor with a stack of its own for VM exits: the processor switches to it, exits.S saves
// the guest's registers there, and handle_exit() decides. The guest tests 2 MiB of memory.
#include "guest-images/find-the-bug/broken-last-pages/layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "broken-last-pages";

enum { kPages = 512 };

extern const char guest_entry[], exit_entry[];  // guest.S, exits.S
void guest_launch(void);                        // exits.S

void handle_exit(GuestRegisters* guest);
_Noreturn void handle_failed_entry(void);

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[512] __attribute__((aligned(4096)));

// What belongs to the guest's processor: the EPT of the memory under test, and the stack for its VM
// exits.
static struct {
  uint64_t ept_pt[kPages];
  uint8_t host_stack[8192];
} vcpu __attribute__((aligned(4096)));

// The first GiB mapped to itself in pages of 2 MiB, the memory under test in pages of 4 KiB.
static void build_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < 512; i++) {
    ept_pd[i] = i << 21 | EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  }
  ept_pd[TESTED_MEMORY >> 21] = (uint64_t)vcpu.ept_pt | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < kPages; i++) {
    vcpu.ept_pt[i] =
        (TESTED_MEMORY + (i << 12)) | EPT_READ | EPT_WRITE | EPT_MEMORY_TYPE_WRITE_BACK;
  }
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_pointer(ept_pml4));
  vmcs_write_host_state();
  vmcs_write(kHostRip, (uint64_t)exit_entry);
  vmcs_write(kHostRsp, (uint64_t)vcpu.host_stack);
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

// Called by exits.S on the stack for VM exits. The guest goes on when it returns.
void handle_exit(GuestRegisters* guest) {
  const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
  if (reason != kExitVmcall) unexpected_exit(reason);
  print("%lu pages tested, %lu are good\n", guest->rcx, guest->rbx);
  if (guest->rcx == kPages) finish(kImage, guest->rbx != kPages);
  vmcs_skip_instruction();
}

void handle_failed_entry(void) {
  give_up("VM entry failed: VM-instruction error %lu", vmcs_read(kVmInstructionError));
}

void image_main(void) {
  print("%s: a guest that tests its memory\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  build_ept();
  fill_vmcs();
  guest_launch();
  handle_failed_entry();
}
