// SPDX-License-Identifier: GPL-2.0-or-later
//
// Paging behind the guest's back: the guest has eight pages, L1 only four to give. When the guest
// touches a page that is out, L1 puts the one that has been in longest out to its swap space.
#include "guest-images/find-the-bug/someone-elses-page/layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "someone-elses-page";

enum { kFrames = 4, kNoPage = -1 };

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[512] __attribute__((aligned(4096)));
static volatile uint64_t ept_pt[512] __attribute__((aligned(4096)));

static uint8_t frames[kFrames][4096] __attribute__((aligned(4096)));
static uint8_t swap_space[PAGES][4096];
static int page_in_frame[kFrames] = {kNoPage, kNoPage, kNoPage, kNoPage};
static unsigned next_frame, swapped_out, swapped_in;

// The first GiB mapped to itself in pages of 2 MiB; of the guest's eight pages none is there yet.
static void build_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < 512; i++) {
    ept_pd[i] = i << 21 | EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  }
  ept_pd[PAGED_MEMORY >> 21] = (uint64_t)ept_pt | EPT_READ_WRITE_EXECUTE;
}

static void swap_out(unsigned frame) {
  const int page = page_in_frame[frame];
  if (page == kNoPage) return;
  ept_pt[page] = 0;
  memcpy(swap_space[page], frames[frame], 4096);
  swapped_out++;
}

static void swap_in(unsigned frame, int page) {
  memcpy(frames[frame], swap_space[page], 4096);
  ept_pt[page] = (uint64_t)frames[frame] | EPT_READ | EPT_WRITE | EPT_MEMORY_TYPE_WRITE_BACK;
  page_in_frame[frame] = page;
  swapped_in++;
}

// An EPT violation drops what the processor has cached for the address that caused it.
static void handle_ept_violation(void) {
  const uint64_t address = vmcs_read(kGuestPhysicalAddress);
  if (address - PAGED_MEMORY >= PAGES * 4096) unexpected_exit(kExitEptViolation);
  const unsigned frame = next_frame++ % kFrames;
  swap_out(frame);
  swap_in(frame, (int)((address - PAGED_MEMORY) / 4096));
}

void image_main(void) {
  print("%s: %u pages in %u frames\n", kImage, PAGES, kFrames);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  build_ept();
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_pointer(ept_pml4));
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));

  Guest guest = {0};
  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitEptViolation) unexpected_exit(reason);
    handle_ept_violation();
  }
  print("%u pages swapped in, %u out; the guest found %lu of %u as it had left them\n", swapped_in,
        swapped_out, guest.registers.rbx, PAGES);
  finish(kImage, guest.registers.rbx != PAGES);
}
