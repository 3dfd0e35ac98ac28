// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs L2 on lazy memory, and looks whether its memory remembers. Nothing to change here.
#include "guest-images/exercises/evict-pages/exercise.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "evict-pages";

enum { kPageBytes = 4096, kRounds = 3, kTooManyExits = 1000 };

extern const char guest_entry[];  // guest.S

volatile uint64_t window_entries[512] __attribute__((aligned(4096)));
uint64_t window_eptp;

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint8_t frames[kFrames][kPageBytes] __attribute__((aligned(4096)));
static uint8_t disk[GUEST_PAGES][kPageBytes] __attribute__((aligned(4096)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[512] __attribute__((aligned(4096)));
// L2's linear addresses equal its guest-physical ones.
static uint64_t guest_pml4[512] __attribute__((aligned(4096)));
static uint64_t guest_pdpt[512] __attribute__((aligned(4096)));
static unsigned disk_reads, disk_writes, failures;

static void check(bool condition, const char* what) {
  print("  %s: %s\n", condition ? "ok  " : "FAIL", what);
  if (!condition) failures++;
}

uint64_t frame_address(unsigned frame) {
  if (frame >= kFrames) give_up("%s: FAIL: there is no frame %u", kImage, frame);
  return (uint64_t)frames[frame];
}

void disk_write(unsigned page, unsigned frame) {
  if (page >= GUEST_PAGES) give_up("%s: FAIL: there is no page %u", kImage, page);
  memcpy(disk[page], (const void*)frame_address(frame), kPageBytes);
  disk_writes++;
}

void disk_read(unsigned page, unsigned frame) {
  if (page >= GUEST_PAGES) give_up("%s: FAIL: there is no page %u", kImage, page);
  memcpy((void*)frame_address(frame), disk[page], kPageBytes);
  disk_reads++;
}

static void prepare(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  ept_pdpt[GUEST_WINDOW >> 30] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  ept_pd[0] = (uint64_t)window_entries | EPT_READ_WRITE_EXECUTE;
  window_eptp = ept_pointer(ept_pml4);
  guest_pml4[0] = (uint64_t)guest_pdpt | 0x23;            // present, writable, accessed
  guest_pdpt[0] = 0xe3;                                   // and dirty, a page of 1 GByte
  guest_pdpt[GUEST_WINDOW >> 30] = GUEST_WINDOW | 0xe3u;  // the same
}

// Ends the image unless each frame belongs to one page at most, and each mapped page has a frame.
static void check_entries(void) {
  unsigned mapped[kFrames] = {0};
  for (unsigned page = 0; page < 512; page++) {
    const uint64_t entry = window_entries[page];
    if (!(entry & EPT_READ_WRITE_EXECUTE)) continue;
    unsigned frame = 0;
    while (frame < kFrames && (entry & EPT_ADDRESS) != frame_address(frame)) frame++;
    if (page >= GUEST_PAGES || frame == kFrames) {
      give_up("%s: FAIL: the entry of page %u is %#lx, which is none of the frames", kImage, page,
              entry);
    }
    if (mapped[frame]++) give_up("%s: FAIL: frame %u is mapped twice", kImage, frame);
  }
}

static void handle_exit(uint32_t reason) {
  const uint64_t gpa = vmcs_read(kGuestPhysicalAddress);
  const uint64_t page = (gpa - GUEST_WINDOW) / kPageBytes;
  if (reason != kExitEptViolation || page >= GUEST_PAGES) {
    give_up("%s: FAIL: %s, guest-physical address %#lx, at RIP %#lx", kImage,
            exit_reason_name(reason), gpa, vmcs_read(kGuestRip));
  }
  if (!handle_violation((unsigned)page)) {
    give_up("%s: FAIL: no frame for page %lu", kImage, page);
  }
  if (!(window_entries[page] & EPT_READ_WRITE_EXECUTE)) {
    give_up("%s: FAIL: page %lu is not mapped afterwards", kImage, page);
  }
  check_entries();
}

void image_main(void) {
  print("%s: %u pages of L2 in %u pages of L1\n", kImage, GUEST_PAGES, kFrames);
  vmx_operation_enter(vmxon_region);
  const uint64_t needed = EPT_CAP_1G_PAGES | EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE;
  if ((read_msr(kMsrVmxEptVpidCapabilities) & needed) != needed) {
    machine_lacks("EPT pages of 1 GByte and single-context INVEPT");
  }
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept);
  prepare();
  vmcs_write(kEptPointer, window_eptp);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  vmcs_write(kGuestCr3, (uint64_t)guest_pml4);

  GuestRegisters guest = {0};
  unsigned exits = 0;
  for (;; exits++) {
    if (vm_enter(&guest, exits != 0) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
    if (reason == kExitVmcall) break;
    if (exits == kTooManyExits) give_up("%s: FAIL: %u VM exits: no progress", kImage, exits);
    handle_exit(reason);
  }
  print("L2 has ended after %u EPT violations; %u pages read, %u written\n", exits, disk_reads,
        disk_writes);
  const uint64_t sum = GUEST_PAGES * (GUEST_PAGES - 1) / 2;
  check(guest.rax == kRounds * GUEST_PAGES, "each page has counted three rounds");
  check(guest.rbx == sum, "each page knows its number");
  check(guest.rdx == sum, "each page but the last knows the number of the next one");
  finish(kImage, failures);
}
