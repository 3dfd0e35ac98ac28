// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lazy switching of the FPU: L1 owns CR0.TS, so that it sees when its guest switches tasks and when
// a task asks for the FPU. What the guest reads in CR0 is what it wrote there.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "refused-task";

enum { kTasks = 4 };

// Bits of CR0 that belong to L1; the guest sees them in the read shadow.
#define OWNED_BY_L1 ((uint64_t)(kCr0Pe | kCr0Ts | kCr0Ne | kCr0Pg))

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

static Guest guest;
static unsigned switches, fpu_owners;

static void guest_cr0_write(uint64_t value) {
  vmcs_write(kCr0ReadShadow, value);
  vmcs_write(kGuestCr0, value);
}

// MOV to CR0 from RAX, and CLTS: all that this guest uses.
static void handle_cr_access(void) {
  enum { kRegisterAndNumber = 0xf0f, kAccessType = 3 << 4, kMovToCr = 0 << 4, kClts = 2 << 4 };
  const uint64_t qualification = vmcs_read(kExitQualification);
  const uint64_t seen = vmcs_read(kCr0ReadShadow);
  if (qualification & kRegisterAndNumber) unexpected_exit(kExitCrAccess);
  switch (qualification & kAccessType) {
    case kMovToCr:
      if (guest.registers.rax & ~seen & kCr0Ts) print("task switch %u\n", ++switches);
      guest_cr0_write(guest.registers.rax);
      break;
    case kClts:
      fpu_owners++;
      guest_cr0_write(seen & ~(uint64_t)kCr0Ts);
      break;
    default:
      unexpected_exit(kExitCrAccess);
  }
  vmcs_skip_instruction();
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  // The guest is an old kernel, which leaves numeric errors to the interrupt controller.
  vmcs_write(kCr0GuestHostMask, OWNED_BY_L1);
  vmcs_write(kCr0ReadShadow, read_cr0() & ~(uint64_t)kCr0Ne);
}

void image_main(void) {
  print("%s: a guest of %u tasks\n", kImage, kTasks);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();

  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitCrAccess) unexpected_exit(reason);
    handle_cr_access();
  }
  print("the guest counts %lu tasks, L1 %u switches, %u with the FPU\n", guest.registers.rcx,
        switches, fpu_owners);
  finish(kImage, guest.registers.rcx != kTasks || switches != kTasks || fpu_owners != kTasks);
}
