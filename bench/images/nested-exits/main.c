// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a VM exit costs an L2 guest, by its own TSC: the guest executes CPUID or VMCALL again and
// again, and L1 handles it with as much work as KVM. On the processor itself, or on an L0.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"

enum { kExits = 200 };

// handler.S
extern const char guest_cpuid[], guest_vmcall[];
uint64_t run(uint64_t* kept, const void* guest, uint64_t exits, bool all_fields);

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint64_t kept[512] __attribute__((aligned(4096)));

static void prepare(void) {
  vmcs_make_current(vmcs_region);
  const bool ept = controls_offered(kControlsProcessorBased2, kCpu2Ept);
  const bool vpid = controls_offered(kControlsProcessorBased2, kCpu2Vpid);
  vmcs_write_controls_64bit((ept ? kCpu2Ept : 0) | (vpid ? kCpu2Vpid : 0));
  if (vpid) vmcs_write(kVpid, 1);
  if (ept) vmcs_write(kEptPointer, ept_identity_map());
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit(0, (uint64_t)(guest_stack + sizeof guest_stack));
}

static void measure(const char* name, const char* guest, bool all_fields) {
  uint64_t cycles = 0;
  // The first time everything is cold.
  for (unsigned i = 0; i < 2; i++) {
    prepare();
    cycles = run(kept, guest, kExits, all_fields);
    if (cycles == (uint64_t)-1) give_up("VM entry failed");
  }
  print("%s %lu\n", name, cycles / kExits);
}

void image_main(void) {
  vmx_operation_enter(vmxon_region);
  measure("vmcall", guest_vmcall, true);
  measure("cpuid", guest_cpuid, false);
  finish("nested-exits", 0);
}
