// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs L2 on shadow page tables that the exercise fills, and looks at what L2 has seen. Nothing to
// change here.
#include <stddef.h>

#include "guest-images/exercises/shadow-fill/exercise.h"
#include "guest-images/exercises/shadow-fill/guest_layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "shadow-fill";

enum { kEntries = 512, kPageFaultVector = 14, kMaxFaults = 200, kPageBytes = 4096 };

// Interruption information: valid, hardware exception with error code, vector 14.
#define EVENT_VALID (1u << 31)
#define EVENT_ERROR_CODE (1u << 11)
#define EVENT_INJECTABLE 0x80000fffu  // without "NMI unblocking due to IRET" and reserved bits
#define EVENT_PAGE_FAULT (EVENT_VALID | EVENT_ERROR_CODE | 3u << 8 | kPageFaultVector)

extern const uint8_t guest_image[], guest_page_fault[], guest_image_end[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_memory[GUEST_MEMORY_BYTES] __attribute__((aligned(4096)));

// The shadow tables: one of each level, as all that L2 uses lies in the first 2 MiB.
static uint64_t shadow_pml4[kEntries] __attribute__((aligned(4096)));
static uint64_t shadow_pdpt[kEntries] __attribute__((aligned(4096)));
static uint64_t shadow_pd[kEntries] __attribute__((aligned(4096)));
static uint64_t shadow_pt[kEntries] __attribute__((aligned(4096)));

static GuestRegisters guest;
static bool answered, injected;
static unsigned faults, failures;

static void check(bool condition, const char* what) {
  print("  %s: %s\n", condition ? "ok  " : "FAIL", what);
  if (!condition) failures++;
}

static _Noreturn void stop(void) { finish(kImage, failures + 1); }

uint64_t guest_cr3(void) { return GUEST_PML4; }

volatile uint64_t* guest_word(uint64_t gpa) {
  if (gpa > GUEST_MEMORY_BYTES - 8) {
    print("FAIL: guest_word(%#lx): L2 has no such memory\n", gpa);
    stop();
  }
  return (volatile uint64_t*)(guest_memory + gpa);
}

void shadow_map(uint64_t linear, uint64_t gpa, bool writable) {
  answered = true;
  if (linear >> 21 || gpa >= GUEST_MEMORY_BYTES) {
    print("FAIL: shadow_map(%#lx, %#lx): L2 has no such address\n", linear, gpa);
    stop();
  }
  const uint64_t page = (uint64_t)guest_memory + (gpa & PTE_ADDRESS);
  shadow_pt[linear >> 12] = page | PTE_PRESENT | (writable ? PTE_WRITABLE : 0);
}

static void inject(uint32_t event, uint32_t error_code) {
  vmcs_write(kVmEntryInterruptionInformation, event);
  if (event & EVENT_ERROR_CODE) vmcs_write(kVmEntryExceptionErrorCode, error_code);
}

void inject_page_fault(uint64_t linear, uint32_t error_code) {
  answered = injected = true;
  write_cr2(linear);
  inject(EVENT_PAGE_FAULT, error_code);
}

static void take_page_fault(void) {
  const uint64_t linear = vmcs_read(kExitQualification);
  const uint32_t interrupted = (uint32_t)vmcs_read(kIdtVectoringInformation);
  answered = injected = false;
  handle_page_fault(linear, (uint32_t)vmcs_read(kVmExitInterruptionErrorCode));
  if (!answered || ++faults > kMaxFaults) {
    print("FAIL: L2 faults at %#lx again and again\n", linear);
    stop();
  }
  if (!(interrupted & EVENT_VALID)) return;
  if (injected) {
    print("FAIL: the fault at %#lx, on the way to L2's handler, is not L2's own\n", linear);
    stop();
  }
  // The event whose delivery needed the page is delivered again.
  inject(interrupted & EVENT_INJECTABLE, (uint32_t)vmcs_read(kIdtVectoringErrorCode));
}

static void run_guest(void) {
  for (bool resume = false;; resume = true) {
    if (vm_enter(&guest, resume) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
    if (reason == kExitVmcall) return;
    if (reason != kExitExceptionOrNmi) {
      print("FAIL: L2 ends with a VM exit: %s, RIP %#lx\n", exit_reason_name(reason),
            vmcs_read(kGuestRip));
      stop();
    }
    take_page_fault();
  }
}

static void map(uint64_t linear, uint64_t entry) { *guest_word(ENTRY_OF(linear)) = entry; }

static void fill_guest_memory(void) {
  const uint64_t table = PTE_PRESENT | PTE_WRITABLE;
  memcpy(guest_memory + GUEST_CODE, guest_image, (size_t)(guest_image_end - guest_image));
  memcpy(guest_memory + GUEST_GDT, (const void*)read_gdtr().base, read_gdtr().limit + 1u);
  *guest_word(GUEST_PML4) = GUEST_PDPT | table;
  *guest_word(GUEST_PDPT) = GUEST_PD | table;
  *guest_word(GUEST_PD) = GUEST_PT | table;
  for (uint64_t gpa = 0; gpa < LINEAR_READ; gpa += kPageBytes) map(gpa, gpa | table);
  map(LINEAR_READ, GUEST_DATA | table);
  map(LINEAR_WRITTEN, (GUEST_DATA + 0x1000) | table);
  map(LINEAR_READ_ONLY, (GUEST_DATA + 0x3000) | PTE_PRESENT);
  for (uint64_t i = 0; i < 4; i++) *guest_word(GUEST_DATA + i * kPageBytes) = 0xd0 + i;

  // A 64-bit interrupt gate.
  const uint64_t handler = GUEST_CODE + (uint64_t)(guest_page_fault - guest_image);
  *guest_word(GUEST_IDT + 16 * kPageFaultVector) =
      handler | (uint64_t)SELECTOR_CODE64 << 16 | 0x8eull << 40;

  shadow_pml4[0] = (uint64_t)shadow_pdpt | table;
  shadow_pdpt[0] = (uint64_t)shadow_pd | table;
  shadow_pd[0] = (uint64_t)shadow_pt | table;
}

static void fill_vmcs(void) {
  vmcs_write_controls_64bit(0);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit(GUEST_CODE, GUEST_STACK + kPageBytes);
  vmcs_write(kExceptionBitmap, 1u << kPageFaultVector);
  vmcs_write(kGuestCr0, vmcs_read(kGuestCr0) | kCr0Wp);
  vmcs_write(kGuestCr3, (uint64_t)shadow_pml4);
  vmcs_write(kGuestGdtrBase, GUEST_GDT);
  vmcs_write(kGuestIdtrBase, GUEST_IDT);
  vmcs_write(kGuestIdtrLimit, 16 * (kPageFaultVector + 1) - 1);
}

static bool recorded(unsigned number, uint64_t linear, uint64_t error_code) {
  return *guest_word(GUEST_FAULTS + 16 * number) == linear &&
         *guest_word(GUEST_FAULTS + 16 * number + 8) == error_code;
}

void image_main(void) {
  print("%s: L2 runs on tables that L1 fills\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  fill_guest_memory();
  fill_vmcs();
  run_guest();

  print("L1 took %u page faults; L2 handled %lu\n", faults, guest.rdi);
  check(guest.r8 == 0xd0 && guest.r9 == 0xd1, "L2 reads what its own tables map");
  check(*guest_word(GUEST_PML4) & *guest_word(GUEST_PDPT) & *guest_word(GUEST_PD) & PTE_ACCESSED,
        "the entries of L2's upper tables are accessed");
  check((guest.r10 & (PTE_ACCESSED | PTE_DIRTY)) == PTE_ACCESSED,
        "a page that L2 has read is accessed, and not dirty");
  check(guest.r11 & PTE_DIRTY, "after the first write to it, it is dirty");
  check(guest.rdi == 2, "L2 gets its own two page faults, and no other");
  check(recorded(0, LINEAR_MISSING, 0), "the first: a read of a page that is not present");
  check(recorded(1, LINEAR_READ_ONLY, FAULT_PRESENT | FAULT_WRITE),
        "the second: a write to a page that is present, and read-only");
  check(guest.r12 == 0xd2 && *guest_word(GUEST_DATA + 0x3000) == NEW_WORD,
        "after L2 has handled them, its accesses succeed");
  finish(kImage, failures);
}
