// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which pages has L2 written? The EPT's accessed and dirty flags know, and the page-modification
// log has a list.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/dirty-logging/guest_layout.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "dirty-logging";

enum { kEntries = 512, kLastLogEntry = kEntries - 1, kGuestVpid = 1 };

// L1's memory behind the window, above the image.
#define HOST_WINDOW 0x800000ull

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static volatile uint64_t modification_log[kEntries] __attribute__((aligned(4096)));

static uint64_t ept_pml4[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[kEntries] __attribute__((aligned(4096)));
static volatile uint64_t ept_pd[kEntries] __attribute__((aligned(4096)));
static volatile uint64_t ept_pt[GUEST_WINDOW_PAGES] __attribute__((aligned(4096)));

static GuestRegisters guest;
static bool launched, logs;
static unsigned failures;

static void check(bool condition, const char* what) {
  if (condition) return;
  print("  FAIL: %s\n", what);
  failures++;
}

// The first GiB mapped to itself in pages of 2 MiB; the window in pages of 4 KiB.
static void build_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < kEntries; i++) {
    ept_pd[i] = i << 21 | EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  }
  ept_pd[GUEST_WINDOW >> 21] = (uint64_t)ept_pt | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < GUEST_WINDOW_PAGES; i++) {
    ept_pt[i] = (HOST_WINDOW + (i << 12)) | EPT_READ | EPT_WRITE | EPT_MEMORY_TYPE_WRITE_BACK;
  }
}

static void invalidate_ept(uint64_t eptp) {
  if (vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){eptp, 0}) != kVmSucceed) {
    give_up("INVEPT failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
}

// Flags are sticky: only software clears them. What the processor has cached of them stays.
static void clear_flags(void) {
  for (unsigned i = 0; i < kEntries; i++) ept_pd[i] &= ~(EPT_ACCESSED | EPT_DIRTY);
  for (unsigned i = 0; i < GUEST_WINDOW_PAGES; i++) ept_pt[i] &= ~(EPT_ACCESSED | EPT_DIRTY);
  if (logs) vmcs_write(kGuestPmlIndex, kLastLogEntry);
}

static unsigned count_flag(uint64_t flag) {
  unsigned count = 0;
  for (unsigned i = 0; i < GUEST_WINDOW_PAGES; i++) count += (ept_pt[i] & flag) != 0;
  return count;
}

static void print_flag(const char* name, uint64_t flag) {
  print("  %s:", name);
  for (unsigned i = 0; i < GUEST_WINDOW_PAGES; i++) {
    if (ept_pt[i] & flag) print(" %u", i);
  }
  print("\n");
}

// The log is written from its last entry downward; the index is that of the next one.
static unsigned log_entries(void) {
  return kLastLogEntry - (unsigned)(int16_t)vmcs_read(kGuestPmlIndex);
}

// The page of the window that an entry of the log is about; none is that of another address.
enum { kNoPage = ~0u };
static unsigned logged_page(uint64_t gpa) {
  const uint64_t page = (gpa - GUEST_WINDOW) >> 12;
  return page < GUEST_WINDOW_PAGES ? (unsigned)page : kNoPage;
}

static void print_log(void) {
  const unsigned entries = log_entries();
  print("  entries in the log: %u\n", entries);
  for (unsigned i = 0; i < entries; i++) {
    const uint64_t gpa = modification_log[kLastLogEntry - i];
    const unsigned page = logged_page(gpa);
    if (page == kNoPage) {
      print("    %#lx, outside the window\n", gpa);
    } else {
      print("    %#lx, page %u\n", gpa, page);
    }
  }
}

static bool is_logged(unsigned page) {
  const unsigned entries = log_entries();
  for (unsigned i = 0; i < entries; i++) {
    if (logged_page(modification_log[kLastLogEntry - i]) == page) return true;
  }
  return false;
}

static uint32_t enter(void) {
  if (vm_enter(&guest, launched) != kVmSucceed) {
    give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  launched = true;
  return (uint32_t)vmcs_read(kExitReason);
}

static void run_step(void) {
  const uint32_t reason = enter();
  if (reason != kExitVmcall) give_up("expected VMCALL, got %s", exit_reason_name(reason));
  vmcs_skip_instruction();
}

static void first_accesses(void) {
  print("L2 reads page 3, and writes the pages 5, 1 and 5\n");
  clear_flags();
  run_step();
  print_flag("accessed", EPT_ACCESSED);
  print_flag("dirty", EPT_DIRTY);
  check(count_flag(EPT_ACCESSED) == 3 && ept_pt[3] & EPT_ACCESSED, "three pages are accessed");
  check(count_flag(EPT_DIRTY) == 2 && ept_pt[1] & ept_pt[5] & EPT_DIRTY, "two pages are dirty");
  check(ept_pd[0] & EPT_DIRTY, "the page with L2's page tables is dirty: their use is a write");
  if (!logs) return;
  print_log();
  check(log_entries() == 3 && is_logged(1) && is_logged(5), "the log has each dirty page once");
}

static void second_write(uint64_t eptp) {
  print("L1 clears the flags, and forgets INVEPT; L2 writes page 1 again\n");
  clear_flags();
  run_step();
  const bool seen = ept_pt[1] & EPT_DIRTY;
  print("  page 1 is %s: this processor had %s\n", seen ? "dirty" : "clean",
        seen ? "dropped the translation by itself" : "kept the translation, dirty as it was");
  if (logs) check(is_logged(1) == seen, "what becomes dirty is logged");

  print("L1 clears the flags, with INVEPT; L2 writes page 1 again\n");
  clear_flags();
  invalidate_ept(eptp);
  run_step();
  print("  page 1 is %s\n", ept_pt[1] & EPT_DIRTY ? "dirty" : "clean");
  check(ept_pt[1] & EPT_DIRTY, "page 1 is dirty");
  if (logs) check(is_logged(1), "page 1 is in the log");
}

static void all_pages(uint64_t eptp) {
  print("L2 writes all %u pages\n", GUEST_WINDOW_PAGES);
  clear_flags();
  invalidate_ept(eptp);
  if (logs) {
    const uint32_t reason = enter();
    if (reason != kExitPmlFull) give_up("expected a full log, got %s", exit_reason_name(reason));
    print("  VM exit: %s, PML index %#lx, %u dirty pages in the window\n", exit_reason_name(reason),
          vmcs_read(kGuestPmlIndex), count_flag(EPT_DIRTY));
    check(!(ept_pt[kLastLogEntry] & EPT_DIRTY), "the write to the last page has not happened");
    vmcs_write(kGuestPmlIndex, kLastLogEntry);
  }
  run_step();
  if (logs) print_log();
  print("  %u dirty pages in the window\n", count_flag(EPT_DIRTY));
  check(count_flag(EPT_DIRTY) == GUEST_WINDOW_PAGES, "all pages are dirty");
}

static void fill_vmcs(uint64_t eptp) {
  vmcs_write_controls_64bit(kCpu2Ept);
  logs = controls_offered(kControlsProcessorBased2, kCpu2EnablePml);
  controls_write(kControlsProcessorBased2, kCpu2Ept, kCpu2Vpid | kCpu2EnablePml, "EPT");
  if (controls_offered(kControlsProcessorBased2, kCpu2Vpid)) vmcs_write(kVpid, kGuestVpid);
  if (logs) {
    vmcs_write(kPmlAddress, (uint64_t)modification_log);
  } else {
    print("skipped: pml: the processor has no page-modification logging\n");
  }
  vmcs_write(kEptPointer, eptp);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
}

void image_main(void) {
  print("%s: which pages has L2 written?\n", kImage);
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  const uint64_t needed = EPT_CAP_ACCESSED_DIRTY | EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE;
  if ((capabilities & needed) != needed) machine_lacks("accessed and dirty flags for EPT");
  if (!(capabilities & EPT_CAP_2M_PAGES)) machine_lacks("EPT pages of 2 MiB");
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  build_ept();
  const uint64_t eptp = ept_pointer(ept_pml4) | EPTP_ENABLE_ACCESSED_DIRTY;
  fill_vmcs(eptp);
  invalidate_ept(eptp);

  first_accesses();
  second_write(eptp);
  all_pages(eptp);

  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed || vmx_off() != kVmSucceed) failures++;
  finish(kImage, failures);
}
