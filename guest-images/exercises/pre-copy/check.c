// SPDX-License-Identifier: GPL-2.0-or-later
//
// Moves L2's memory while L2 goes on writing, with the help of the exercise, and looks at what has
// arrived. Nothing to change here.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/exercises/pre-copy/exercise.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "pre-copy";

enum { kEntries = 512, kTables = kGuestPages / kEntries, kGuestVpid = 1, kPageBytes = 4096 };

// L1's memory behind L2's, and where it is copied to: above the image.
#define SOURCE 0x800000ull
#define DESTINATION (SOURCE + kGuestPages * kPageBytes)

extern const char guest_entry[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static volatile uint64_t modification_log[kLogEntries] __attribute__((aligned(4096)));

static uint64_t ept_pml4[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[kEntries] __attribute__((aligned(4096)));
static uint64_t ept_pd[kEntries] __attribute__((aligned(4096)));
static volatile uint64_t ept_pt[kGuestPages] __attribute__((aligned(4096)));

static GuestRegisters guest;
static bool launched;
static unsigned sent, failures;

// What L2 writes in a round: COUNT pages from FIRST on, each STEP after the one before.
typedef struct {
  unsigned first, step, count;
} Round;
static const Round kRounds[] = {{0, 1, 700}, {100, 3, 90}, {130, 6, 12}};

static uint64_t* word_of(uint64_t memory, unsigned page) {
  return (uint64_t*)(memory + (uint64_t)page * kPageBytes);
}

void send_page(unsigned page) {
  if (page >= kGuestPages) {
    print("FAIL: page %u was sent: L2 has only %u\n", page, kGuestPages);
    finish(kImage, failures + 1);
  }
  memcpy(word_of(DESTINATION, page), word_of(SOURCE, page), kPageBytes);
  sent++;
}

// The first GiB mapped to itself in pages of 2 MiB, and L2's memory in pages of 4 KiB.
static uint64_t build_ept(void) {
  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  for (uint64_t i = 0; i < kEntries; i++) {
    ept_pd[i] = i << 21 | EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  }
  for (uint64_t i = 0; i < kTables; i++) {
    ept_pd[(GUEST_MEMORY >> 21) + i] = (uint64_t)(ept_pt + i * kEntries) | EPT_READ_WRITE_EXECUTE;
  }
  for (unsigned i = 0; i < kGuestPages; i++) {
    ept_pt[i] = (uint64_t)word_of(SOURCE, i) | EPT_READ | EPT_WRITE | EPT_MEMORY_TYPE_WRITE_BACK;
  }
  return ept_pointer(ept_pml4) | EPTP_ENABLE_ACCESSED_DIRTY;
}

static uint32_t enter(void) {
  if (vm_enter(&guest, launched) != kVmSucceed) {
    give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  launched = true;
  return (uint32_t)vmcs_read(kExitReason);
}

static void run_round(unsigned number, const Tracking* tracking) {
  const Round* round = &kRounds[number];
  guest.rbx = GUEST_MEMORY + (uint64_t)round->first * kPageBytes;
  guest.rdx = (uint64_t)round->step * kPageBytes;
  guest.rcx = round->count;
  guest.rsi = number + 1;
  const unsigned sent_before = sent;
  for (;;) {
    const uint32_t reason = enter();
    send_written_pages(tracking);
    if (reason == kExitVmcall) break;
    if (reason != kExitPmlFull) give_up("unexpected VM exit: %s", exit_reason_name(reason));
    if (vmcs_read(kGuestPmlIndex) >= kLogEntries) {
      print("FAIL: the log is full, and nobody has emptied it\n");
      finish(kImage, failures + 1);
    }
  }
  vmcs_skip_instruction();
  const unsigned sent_now = sent - sent_before;
  print("round %u: L2 wrote %u pages, %u were sent\n", number + 1, round->count, sent_now);
  if (sent_now > round->count) {
    print("FAIL: more was sent than L2 has written\n");
    failures++;
  }
}

static void compare(void) {
  unsigned differ = 0, first = 0;
  for (unsigned page = 0; page < kGuestPages; page++) {
    bool same = true;
    for (unsigned i = 0; i < kPageBytes / 8; i++) {
      same = same && word_of(SOURCE, page)[i] == word_of(DESTINATION, page)[i];
    }
    if (!same && !differ++) first = page;
  }
  if (!differ) {
    print("all pages have arrived as they are\n");
    return;
  }
  print("FAIL: %u pages have not arrived as they are; the first is page %u, written in round %lu\n",
        differ, first, *word_of(SOURCE, first));
  failures++;
}

void image_main(void) {
  print("%s: L2's memory moves while L2 writes\n", kImage);
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  const uint64_t needed = EPT_CAP_ACCESSED_DIRTY | EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE;
  if ((capabilities & needed) != needed) machine_lacks("accessed and dirty flags for EPT");
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  const Tracking tracking = {ept_pt, modification_log, build_ept()};
  vmcs_write_controls_64bit(kCpu2Ept);
  controls_write(kControlsProcessorBased2, kCpu2Ept | kCpu2EnablePml, kCpu2Vpid,
                 "page-modification logging");
  if (controls_offered(kControlsProcessorBased2, kCpu2Vpid)) vmcs_write(kVpid, kGuestVpid);
  vmcs_write(kEptPointer, tracking.eptp);
  vmcs_write(kPmlAddress, (uint64_t)modification_log);
  vmcs_write(kGuestPmlIndex, kLogEntries - 1);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_entry, (uint64_t)(guest_stack + sizeof guest_stack));
  vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){tracking.eptp, 0});

  for (unsigned page = 0; page < kGuestPages; page++) send_page(page);
  print("round 0: all %u pages were sent\n", kGuestPages);
  for (unsigned i = 0; i < sizeof kRounds / sizeof kRounds[0]; i++) run_round(i, &tracking);
  compare();
  finish(kImage, failures);
}
