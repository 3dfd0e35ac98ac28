// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lets the processor and the exercise translate the same addresses, and compares. Nothing to change
// here.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/exercises/count-references/exercise.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "count-references";

// L2's guest-physical addresses. EPT maps the first 16 pages with 4-KByte pages, the 2 MBytes at
// GUEST_2M with one page, and the GByte at GUEST_1G with one page.
#define GUEST_CODE 0x1000ull
#define GUEST_PML4 0x2000ull
#define GUEST_PDPT 0x3000ull
#define GUEST_PD 0x4000ull
#define GUEST_PT 0x5000ull
#define GUEST_DATA 0x6000ull
#define GUEST_LOW_BYTES 0x10000ull
#define GUEST_HOLE 0x13000ull
#define GUEST_2M 0x200000ull
#define GUEST_1G 0x40000000ull
#define GUEST_FAR_HOLE 0xc0000000ull

// The physical addresses behind them.
#define HOST_2M 0x400000ull
#define HOST_1G 0ull
#define MEMORY_BYTES 0x1000000ull

#define TABLE 0x23ull       // present, writable, accessed
#define PAGE 0x63ull        // and dirty
#define LARGE_PAGE 0xe3ull  // and page size
#define EPT_PAGE (EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK)

enum { kPageFaultVector = 14 };

extern const uint8_t guest_image[], guest_image_end[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t low_memory[GUEST_LOW_BYTES] __attribute__((aligned(4096)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[512] __attribute__((aligned(4096)));
static uint64_t ept_pt[512] __attribute__((aligned(4096)));
static unsigned reads, failures;
static bool launched;

uint64_t read_entry(uint64_t physical) {
  if (physical >= MEMORY_BYTES || physical & 7) {
    print("  FAIL: an entry is read at %#lx, where no table can be\n", physical);
    finish(kImage, failures + 1);
  }
  reads++;
  return *(const volatile uint64_t*)physical;
}

static uint64_t* low_word(uint64_t gpa) { return (uint64_t*)(low_memory + gpa); }

static void prepare_guest(void) {
  memcpy(low_memory + GUEST_CODE, guest_image, (size_t)(guest_image_end - guest_image));
  *low_word(GUEST_PML4) = GUEST_PDPT | TABLE;
  *low_word(GUEST_PDPT) = GUEST_PD | TABLE;
  *low_word(GUEST_PDPT + 8 * 2) = GUEST_1G | LARGE_PAGE;
  *low_word(GUEST_PD) = GUEST_PT | TABLE;
  *low_word(GUEST_PD + 8 * 3) = GUEST_2M | LARGE_PAGE;
  *low_word(GUEST_PD + 8 * 5) = (GUEST_HOLE + 0x1000) | TABLE;
  uint64_t* pt = low_word(GUEST_PT);
  pt[GUEST_CODE >> 12] = GUEST_CODE | PAGE;
  pt[0x35] = GUEST_DATA | PAGE;
  pt[0x36] = (GUEST_2M + 0x34000) | PAGE;
  pt[0x37] = (GUEST_1G + 0x654000) | PAGE;
  pt[0x39] = GUEST_HOLE | PAGE;
  pt[0x3a] = GUEST_FAR_HOLE | PAGE;

  ept_pml4[0] = (uint64_t)ept_pdpt | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[0] = (uint64_t)ept_pd | EPT_READ_WRITE_EXECUTE;
  ept_pdpt[GUEST_1G >> 30] = HOST_1G | EPT_PAGE | EPT_LARGE_PAGE;
  ept_pd[0] = (uint64_t)ept_pt | EPT_READ_WRITE_EXECUTE;
  ept_pd[GUEST_2M >> 21] = HOST_2M | EPT_PAGE | EPT_LARGE_PAGE;
  for (uint64_t gpa = 0; gpa < GUEST_LOW_BYTES; gpa += 0x1000) {
    ept_pt[gpa >> 12] = ((uint64_t)low_memory + gpa) | EPT_PAGE;
  }
}

typedef struct {
  const char* what;
  uint64_t linear;
  WalkOutcome outcome;
  uint64_t address;
  unsigned references;
} Case;

static const char* outcome_name(WalkOutcome outcome) {
  static const char* const kNames[] = {"translated", "page fault", "EPT violation"};
  return outcome <= kEptViolation ? kNames[outcome] : "nonsense";
}

// What the processor makes of L2's read at LINEAR; the word that it read is in *WORD.
static Walk ask_processor(uint64_t linear, uint64_t* word) {
  GuestRegisters guest = {.rsi = linear};
  vmcs_write(kGuestRip, GUEST_CODE);
  if (vm_enter(&guest, launched) != kVmSucceed) {
    give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  launched = true;
  *word = guest.rax;
  switch (vmcs_read(kExitReason)) {
    case kExitVmcall:
      return (Walk){kTranslated, 0, 0};
    case kExitExceptionOrNmi:
      return (Walk){kPageFault, 0, 0};
    case kExitEptViolation:
      return (Walk){kEptViolation, vmcs_read(kGuestPhysicalAddress), 0};
    default:
      give_up("unexpected exit: %s", exit_reason_name((uint32_t)vmcs_read(kExitReason)));
  }
}

static bool judge(const Case* c, Walk yours, unsigned counted_reads) {
  bool right = yours.outcome == c->outcome && yours.address == c->address &&
               yours.references == c->references;
  if (yours.references != counted_reads) {
    print("  FAIL: %s: %u references reported, but %u entries read\n", c->what, yours.references,
          counted_reads);
    right = false;
  } else if (!right) {
    print("  FAIL: %s, linear address %#lx: %s, %#lx, %u references; right is %s, %#lx, %u\n",
          c->what, c->linear, outcome_name(yours.outcome), yours.address, yours.references,
          outcome_name(c->outcome), c->address, c->references);
  } else {
    print("  ok  : %s, linear address %#lx: %s, %#lx, %u references\n", c->what, c->linear,
          outcome_name(yours.outcome), yours.address, yours.references);
  }
  if (!right) failures++;
  return right;
}

static void compare(const Case* c, uint64_t eptp) {
  uint64_t word = 0;
  // A word of its own behind each address that can be read.
  if (c->outcome == kTranslated) *(volatile uint64_t*)c->address = ~c->linear;
  const Walk processor = ask_processor(c->linear, &word);
  if (processor.outcome != c->outcome ||
      (c->outcome == kTranslated ? word != ~c->linear : processor.address != c->address)) {
    give_up("%s: the processor says %s", c->what, outcome_name(processor.outcome));
  }
  reads = 0;
  const Walk yours = walk_nested(GUEST_PML4, eptp, c->linear);
  judge(c, yours, reads);
}

void image_main(void) {
  const uint64_t needed = EPT_CAP_2M_PAGES | EPT_CAP_1G_PAGES;
  print("%s: one dimension, then two\n", kImage);
  vmx_operation_enter(vmxon_region);
  if ((read_msr(kMsrVmxEptVpidCapabilities) & needed) != needed) machine_lacks("large EPT pages");
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept);
  prepare_guest();
  const uint64_t eptp = ept_pointer(ept_pml4);
  vmcs_write(kEptPointer, eptp);
  vmcs_write(kExceptionBitmap, 1u << kPageFaultVector);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit(GUEST_CODE, 0);
  vmcs_write(kGuestCr3, GUEST_PML4);

  const uint64_t own = (uint64_t)&failures;
  const Case own_page = {"L1's own 2-MByte page", own, kTranslated, own, 3};
  reads = 0;
  const Walk own_walk = walk(read_cr3(), own);
  judge(&own_page, own_walk, reads);

  const Case kCases[] = {
      {"4-KByte page over a 4-KByte page", 0x35678, kTranslated,
       (uint64_t)low_memory + GUEST_DATA + 0x678, 24},
      {"4-KByte page over a 2-MByte page", 0x36008, kTranslated, HOST_2M + 0x34008, 23},
      {"4-KByte page over a 1-GByte page", 0x37ff8, kTranslated, HOST_1G + 0x654ff8, 22},
      {"2-MByte page over a 2-MByte page", 0x612340, kTranslated, HOST_2M + 0x12340, 18},
      {"1-GByte page over a 1-GByte page", 0x80600010, kTranslated, HOST_1G + 0x600010, 12},
      {"a PTE that is 0", 0x38000, kPageFault, 0, 20},
      {"a PML4E that is 0", 0x8000000000, kPageFault, 0, 5},
      {"a page that EPT does not map", 0x39ab8, kEptViolation, GUEST_HOLE + 0xab8, 24},
      {"a page where EPT has no directory", 0x3a000, kEptViolation, GUEST_FAR_HOLE, 22},
      {"a page table that EPT does not map", 0xa01000, kEptViolation, GUEST_HOLE + 0x1008, 19},
  };
  for (unsigned i = 0; i < sizeof kCases / sizeof kCases[0]; i++) compare(&kCases[i], eptp);
  finish(kImage, failures);
}
