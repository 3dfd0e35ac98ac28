// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1 keeps the MSRs of SYSCALL for its guest: writes of the guest go to a copy, never to the
// processor. All other MSRs are the guest's own.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "unseen-write";

enum { kFirst = kMsrStar, kCount = 4, kHighMsrs = 0xc0000000, kHypervisorEntry = 0x5ca11 };

// The four parts of the MSR bitmaps, 1 KiB each: reads and writes of MSRs 0 to 1FFFH (low) and
// C0000000H to C0001FFFH (high).
static struct {
  uint8_t read_low[1024], read_high[1024], write_low[1024], write_high[1024];
} msr_bitmaps __attribute__((aligned(4096)));

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

static Guest guest;
static uint64_t copies[kCount];
static unsigned writes;

static void bitmap_set(uint8_t* bitmap, uint32_t bit) {
  bitmap[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
}

static void intercept(uint32_t first, uint32_t count) {
  for (uint32_t msr = first; msr < first + count; msr++)
    bitmap_set(msr_bitmaps.write_high, msr - kHighMsrs);
}

static void handle_wrmsr(void) {
  const uint32_t msr = (uint32_t)guest.registers.rcx;
  const uint64_t value = guest.registers.rdx << 32 | (uint32_t)guest.registers.rax;
  print("the guest writes %#lx to MSR %#x\n", value, msr);
  if (msr - kFirst >= kCount) unexpected_exit(kExitWrmsr);
  copies[msr - kFirst] = value;
  writes++;
  vmcs_skip_instruction();
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased, kCpuUseMsrBitmaps | CPU_ACTIVATE_SECONDARY, 0,
                 "MSR bitmaps");
  vmcs_write(kMsrBitmaps, (uint64_t)&msr_bitmaps);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

void image_main(void) {
  print("%s: SYSCALL of a guest\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  write_msr(kMsrLstar, kHypervisorEntry);
  intercept(kFirst, kCount);
  fill_vmcs();

  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason == kExitVmcall) break;
    if (reason != kExitWrmsr) unexpected_exit(reason);
    handle_wrmsr();
  }
  unsigned failures = 0;
  if (writes != kCount) failures++;
  if (copies[kMsrLstar - kFirst] != guest.registers.rsi) failures++;
  if (read_msr(kMsrLstar) != kHypervisorEntry) failures++;
  print("L1 saw %u writes; the guest's LSTAR is %#lx, L1's %#lx\n", writes,
        copies[kMsrLstar - kFirst], read_msr(kMsrLstar));
  finish(kImage, failures);
}
