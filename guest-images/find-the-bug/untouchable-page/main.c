// SPDX-License-Identifier: GPL-2.0-or-later
//
// An EPT that maps the first 4 GiB to themselves, each page with the memory type that firmware has
// set up for it in the MTRRs.
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vm_run.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "untouchable-page";

enum { kGigabytes = 4, kPageShift = 21, kMostRanges = 32 };
enum { kUncacheable = 0, kWriteThrough = 4, kWriteBack = 6, kNoType = 0xff };
#define MTRR_ADDRESS 0x000ffffffffff000ull
#define MTRR_VALID (1ull << 11)
#define MTRR_TYPE 0xffull

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[kGigabytes][512] __attribute__((aligned(4096)));

static struct {
  uint64_t base, mask;
  uint8_t type;
} ranges[kMostRanges];
static unsigned range_count;

static void read_mtrrs(void) {
  const unsigned count = read_msr(kMsrMtrrCapabilities) & 0xff;
  for (unsigned i = 0; i < count && i < kMostRanges; i++) {
    const uint64_t base = read_msr(kMsrMtrrPhysicalBase0 + 2 * i);
    const uint64_t mask = read_msr(kMsrMtrrPhysicalMask0 + 2 * i);
    if (!(mask & MTRR_VALID)) continue;
    ranges[range_count].base = base & MTRR_ADDRESS;
    ranges[range_count].mask = mask & MTRR_ADDRESS;
    ranges[range_count].type = base & MTRR_TYPE;
    print("MTRR %u: base %#lx, mask %#lx, type %u\n", i, ranges[range_count].base,
          ranges[range_count].mask, ranges[range_count].type);
    range_count++;
  }
}

// Where ranges overlap, uncacheable wins, and write-through wins over write-back.
static uint8_t memory_type(uint64_t address) {
  uint8_t type = kNoType;
  for (unsigned i = 0; i < range_count; i++) {
    if ((address & ranges[i].mask) != (ranges[i].base & ranges[i].mask)) continue;
    if (ranges[i].type == kUncacheable) return kUncacheable;
    if (type != kWriteThrough) type = ranges[i].type;
  }
  return type;
}

static void build_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  for (unsigned i = 0; i < kGigabytes; i++) {
    ept_pdpt[i] = (uint64_t)ept_pd[i] | EPT_READ_WRITE_EXECUTE;
  }
  for (uint64_t page = 0; page < kGigabytes * 512; page++) {
    const uint64_t address = page << kPageShift;
    // The first MiB has MTRRs of fixed ranges; the guest uses none of its devices.
    const uint64_t type = page == 0 ? kWriteBack : memory_type(address);
    ept_pd[page >> 9][page & 511] =
        address | EPT_READ_WRITE_EXECUTE | EPT_LARGE_PAGE | (type & 7) << 3;
  }
}

void image_main(void) {
  print("%s: memory types from the MTRRs\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  read_mtrrs();
  build_ept();
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, ept_pointer(ept_pml4));
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));

  Guest guest = {0};
  for (;;) {
    const uint32_t reason = vm_run(&guest);
    if (reason != kExitVmcall) unexpected_exit(reason);
    print("the guest has written %lu pages\n", guest.registers.rcx);
    if (guest.registers.rcx != 1) break;
    vmcs_skip_instruction();
  }
  finish(kImage, guest.registers.rcx != 4);
}
