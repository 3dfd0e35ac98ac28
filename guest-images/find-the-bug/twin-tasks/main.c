// SPDX-License-Identifier: GPL-2.0-or-later
//
// A 32-bit guest with PAE paging and two tasks, each with its own page tables and its own memory at
// the same address. L1 watches which task runs: MOV to CR3 exits.
#include "guest-images/find-the-bug/twin-tasks/layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "twin-tasks";

enum { kPresent = 1, kWritable = 2, kLargePage = 0x80, kRightsCode32 = 0xc09b };

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

// The guest's tables: code and stack are the same for both tasks.
static uint64_t guest_pdpt[TASKS][4] __attribute__((aligned(32)));
static uint64_t guest_pd_code[512] __attribute__((aligned(4096)));
static uint64_t guest_pd_task[TASKS][512] __attribute__((aligned(4096)));

static Guest guest;
static unsigned switches;

static void build_guest_tables(void) {
  guest_pd_code[0] = kPresent | kWritable | kLargePage;
  for (uint64_t task = 0; task < TASKS; task++) {
    guest_pdpt[task][0] = (uint64_t)guest_pd_code | kPresent;
    guest_pdpt[task][TASK_MEMORY >> 30] = (uint64_t)guest_pd_task[task] | kPresent;
    guest_pd_task[task][0] = (4 + 2 * task) << 20 | kPresent | kWritable | kLargePage;
  }
}

static void load_pdptes(const uint64_t* pdpt) {
  for (unsigned i = 0; i < 4; i++) vmcs_write(kGuestPdpte0 + 2 * i, pdpt[i]);
}

// MOV to CR3 from EAX is all that this guest uses.
static void handle_cr_access(void) {
  enum { kMovToCr3FromEax = 3 };
  if ((vmcs_read(kExitQualification) & 0xf3f) != kMovToCr3FromEax) unexpected_exit(kExitCrAccess);
  const uint32_t cr3 = (uint32_t)guest.registers.rax;
  print("switch %u: to task %u\n", ++switches, cr3 == (uint64_t)guest_pdpt[1]);
  vmcs_write(kGuestCr3, cr3);
  vmcs_skip_instruction();
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased, kCpuCr3LoadExiting | CPU_ACTIVATE_SECONDARY, 0,
                 "CR3-load exiting");
  controls_write(kControlsEntry, 0, kEntryLoadEfer, "32-bit guest");
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  vmcs_write(kGuestCsSelector, SELECTOR_CODE32);
  vmcs_write(kGuestCsAccessRights, kRightsCode32);
  vmcs_write(kGuestEfer, 0);
  vmcs_write(kGuestCr3, (uint64_t)guest_pdpt[0]);
  load_pdptes(guest_pdpt[0]);
  guest.registers.rsi = (uint64_t)guest_pdpt;
}

void image_main(void) {
  print("%s: one address, two tasks\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  build_guest_tables();
  fill_vmcs();

  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitCrAccess) unexpected_exit(reason);
    handle_cr_access();
  }
  print("task 0 finds %lu in its memory, task 1 finds %lu\n", guest.registers.rbx,
        guest.registers.rdx);
  finish(kImage, guest.registers.rbx != 100 || guest.registers.rdx != 101);
}
