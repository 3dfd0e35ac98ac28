// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1 and its guest each have their own IA32_STAR and IA32_KERNEL_GS_BASE, which the VMCS does not
// hold: the processor switches them with the MSR areas at each VM entry and VM exit.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "no-way-back";

// Format of an entry in an MSR area.
typedef struct {
  uint32_t index, reserved;
  uint64_t value;
} MsrEntry;

enum { kSwitchedMsrs = 2 };
#define HOST_GS_BASE 0x105fful
#define GUEST_GS_BASE 0x6ae57ul

static struct {
  MsrEntry host_msrs[kSwitchedMsrs];
  MsrEntry guest_msrs[kSwitchedMsrs];
  char name[16];
} vcpu __attribute__((aligned(16))) = {
    .host_msrs = {{kMsrStar, 0, 0x0010000800000000}, {kMsrKernelGsBase, 0, HOST_GS_BASE}},
    .guest_msrs = {{kMsrStar, 0, 0x0023001000000000}, {kMsrKernelGsBase, 0, GUEST_GS_BASE}},
    .name = "virtual CPU 0",
};

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

// What the guest has left is stored at a VM exit and loaded at the next VM entry.
static void write_msr_areas(void) {
  vmcs_write(kVmEntryMsrLoadAddress, (uint64_t)vcpu.guest_msrs);
  vmcs_write(kVmEntryMsrLoadCount, kSwitchedMsrs);
  vmcs_write(kVmExitMsrStoreAddress, (uint64_t)vcpu.guest_msrs);
  vmcs_write(kVmExitMsrStoreCount, kSwitchedMsrs);
  vmcs_write(kVmExitMsrLoadAddress, (uint64_t)vcpu.host_msrs);
  vmcs_write(kVmExitMsrLoadCount, sizeof vcpu.host_msrs);
}

// The guest uses all MSRs without a VM exit.
static void fill_vmcs(void) {
  static uint8_t msr_bitmaps[4096] __attribute__((aligned(4096)));
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased, kCpuUseMsrBitmaps | CPU_ACTIVATE_SECONDARY, 0,
                 "MSR bitmaps");
  vmcs_write(kMsrBitmaps, (uint64_t)msr_bitmaps);
  vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  write_msr_areas();
}

void image_main(void) {
  print("%s: two owners of the same MSRs\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_vmcs();
  write_msr(kMsrKernelGsBase, HOST_GS_BASE);

  unsigned failures = 0;
  Guest guest = {0};
  for (unsigned round = 0; round < 3; round++) {
    const uint32_t reason = vm_run(&guest);
    if (reason != kExitVmcall) unexpected_exit(reason);
    const uint64_t own = read_msr(kMsrKernelGsBase);
    print("IA32_KERNEL_GS_BASE: the guest has %#lx, L1 %#lx\n", guest.registers.rbx, own);
    if (guest.registers.rbx != GUEST_GS_BASE + round || own != HOST_GS_BASE) failures++;
    vmcs_skip_instruction();
  }
  finish(kImage, failures);
}
