// SPDX-License-Identifier: GPL-2.0-or-later
//
// Changes what L2's addresses lead to, calls the exercise, and looks at what L2 sees. Nothing to
// change here.
#include <stdbool.h>

#include "guest-images/exercises/invalidations/exercise.h"
#include "guest-images/exercises/invalidations/tables.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "invalidations";

#define READ_WRITE (EPT_READ | EPT_WRITE)

extern const char guest_read[], guest_write[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));

static GuestRegisters guest;
static bool launched;
static unsigned invepts, invvpids, failures;

static void must_succeed(VmxResult result, const char* instruction) {
  if (result == kVmSucceed) return;
  give_up("%s failed: %s", instruction, vm_instruction_error_name(vmcs_read(kVmInstructionError)));
}

void invept(uint64_t eptp) {
  invepts++;
  must_succeed(vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){eptp, 0}),
               "INVEPT");
}

void invvpid(uint16_t vpid) {
  invvpids++;
  must_succeed(vmx_invalidate_vpid(kInvvpidSingleContext, (InvalidationDescriptor){vpid, 0}),
               "INVVPID");
}

void invvpid_address(uint16_t vpid, uint64_t linear) {
  invvpids++;
  must_succeed(vmx_invalidate_vpid(kInvvpidAddress, (InvalidationDescriptor){vpid, linear}),
               "INVVPID");
}

// What L2 runs with.
static void set_processor(uint64_t cr3, uint16_t vpid) {
  vmcs_write(kGuestCr3, cr3);
  vmcs_write(kVpid, vpid);
}
static void set_ept(unsigned ept) { vmcs_write(kEptPointer, tables_eptp(ept)); }

// Runs L2 from RIP to its VMCALL; false if it has an EPT violation.
static bool run(const char* rip) {
  vmcs_write(kGuestRip, (uint64_t)rip);
  must_succeed(vm_enter(&guest, launched), "VM entry");
  launched = true;
  const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
  if (reason != kExitVmcall && reason != kExitEptViolation) {
    give_up("unexpected VM exit: %s", exit_reason_name(reason));
  }
  return reason == kExitVmcall;
}

static bool read(unsigned first, unsigned second) {
  guest.rbx = window_page(first);
  guest.rcx = window_page(second);
  return run(guest_read);
}

static bool write(unsigned page) {
  guest.rbx = window_page(page);
  return run(guest_write);
}

static void expect(bool condition, const char* what) {
  if (!condition) give_up("%s", what);
}

static void report(const char* change, bool right, const char* wrong) {
  print("  %s: %s%s%s\n", right ? "ok  " : "FAIL", change, right ? "" : ": ", right ? "" : wrong);
  if (!right) failures++;
}

typedef enum { kNone, kInvept, kInvvpid } Needed;

// Calls the exercise. What L2 then sees is looked at only where no instruction too many would hide
// a missing one.
static bool invalidates(Change change, const char* name, Needed needed, unsigned page) {
  const Context context = {vmcs_read(kEptPointer), (uint16_t)vmcs_read(kVpid), window_page(page)};
  invepts = invvpids = 0;
  invalidate_after(change, &context);
  if (invepts > (needed == kInvept)) {
    report(name, false, needed == kInvept ? "one INVEPT is enough" : "it needs no INVEPT");
    return false;
  }
  if (invvpids > (needed == kInvvpid)) {
    report(name, false, needed == kInvvpid ? "one INVVPID is enough" : "it needs no INVVPID");
    return false;
  }
  return true;
}

// After a change L2 reads two pages, and must find these of L1's.
static void then_reads(Change change, const char* name, Needed needed, unsigned first,
                       unsigned first_page, unsigned second, unsigned second_page) {
  const bool few = invalidates(change, name, needed, first);
  const bool right = read(first, second) && guest.rax == page_word(first_page) &&
                     guest.rdx == page_word(second_page);
  if (few) report(name, right, "L2 sees what was there before");
}

static void change_entries(void) {
  expect(!read(0, 1), "the first page is mapped");
  ept_pt[0][0] = ept_entry(0, EPT_READ);
  then_reads(kPageMapped, "a page is mapped", kNone, 0, 0, 1, 1);

  ept_pt[0][0] = ept_entry(4, EPT_READ);
  then_reads(kPageExchanged, "a page is exchanged", kInvept, 0, 4, 1, 1);

  expect(read(3, 3) && !write(3), "the write is allowed");
  ept_pt[0][3] = ept_entry(3, READ_WRITE);
  const char* added = "a right is added";
  if (invalidates(kRightAdded, added, kNone, 3)) {
    report(added, write(3), "L2's write is refused again");
  }

  ept_pt[0][3] = ept_entry(3, EPT_READ);
  const char* taken = "a right is taken";
  if (invalidates(kRightTaken, taken, kInvept, 3)) report(taken, !write(3), "L2 still writes");
}

static void change_addresses(void) {
  expect(read(1, 2), "L2's pages are missing");
  guest_pt[0][1] = guest_entry(2);
  then_reads(kGuestRemapped, "L2's page tables are changed", kInvvpid, 1, 2, 2, 2);

  set_processor(tables_cr3(1), 1);
  then_reads(kVpidReused, "a VPID is reused", kInvvpid, 1, 1, 2, 1);

  set_processor(tables_cr3(0), 2);
  then_reads(kVpidFirstUsed, "a VPID is used for the first time", kNone, 1, 2, 2, 2);
}

static void change_epts(void) {
  set_ept(1);
  then_reads(kEptFirstUsed, "an EPT is used for the first time", kNone, 1, 5, 2, 5);

  tables_link(1, 2);
  then_reads(kTableExchanged, "an EPT paging structure is exchanged", kInvept, 1, 6, 2, 6);

  set_ept(0);
  then_reads(kEptUsedAgain, "an EPT is used again, unchanged", kNone, 1, 2, 2, 2);

  ept_pt[2][2] = ept_entry(7, EPT_READ);
  set_ept(1);
  then_reads(kEptChangedIdle, "an EPT is used again, changed meanwhile", kInvept, 1, 7, 2, 7);
}

static void fill_tables(void) {
  tables_build();
  for (unsigned i = 1; i < 3; i++) ept_pt[0][i] = ept_entry(i, READ_WRITE);
  ept_pt[0][3] = ept_entry(3, EPT_READ);
  ept_pt[1][2] = ept_entry(5, EPT_READ);
  ept_pt[2][2] = ept_entry(6, EPT_READ);
  for (unsigned i = 0; i < 4; i++) guest_pt[0][i] = guest_entry(i);
  for (unsigned i = 0; i < 4; i++) guest_pt[1][i] = guest_entry(1);
}

void image_main(void) {
  print("%s: L2's addresses lead elsewhere\n", kImage);
  const uint64_t needed = EPT_CAP_2M_PAGES | EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE |
                          EPT_CAP_INVEPT_ALL | VPID_CAP_INVVPID | VPID_CAP_INVVPID_ADDRESS |
                          VPID_CAP_INVVPID_SINGLE;
  if ((read_msr(kMsrVmxEptVpidCapabilities) & needed) != needed)
    machine_lacks("INVEPT and INVVPID");
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept | kCpu2Vpid);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_read, (uint64_t)(guest_stack + sizeof guest_stack));
  fill_tables();
  set_ept(0);
  set_processor(tables_cr3(0), 1);
  vmx_invalidate_ept(kInveptAllContexts, (InvalidationDescriptor){0, 0});

  change_entries();
  change_addresses();
  change_epts();
  finish(kImage, failures);
}
