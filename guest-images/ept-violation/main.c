// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lazy EPT: L2 starts with nothing mapped; every page comes by an EPT violation.
#include <stddef.h>

#include "guest-images/ept-violation/guest_layout.h"
#include "guest-images/ept-violation/guest_memory.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "ept-violation";

// Exit qualification of an EPT violation.
enum {
  kQualificationRead = 1 << 0,
  kQualificationWrite = 1 << 1,
  kQualificationFetch = 1 << 2,
  kQualificationReadable = 1 << 3,
  kQualificationWritable = 1 << 4,
  kQualificationExecutable = 1 << 5,
  kQualificationLinearValid = 1 << 7,
  kQualificationTranslation = 1 << 8,  // the final address, not a paging-structure entry
};

// The bits that every processor defines, whatever it offers beyond; bit 6 and bits 11:9 depend on
// features.
#define QUALIFICATION_STABLE 0x1bf
// For one instruction that reads and writes, and for a flag set in a guest page table, bit 0 is up
// to the processor.
#define QUALIFICATION_READ_MODIFY_WRITE (QUALIFICATION_STABLE & ~kQualificationRead)

#define TABLE_READ (kQualificationRead | kQualificationLinearValid)
#define TABLE_WRITE (kQualificationWrite | kQualificationLinearValid)
#define READ (kQualificationRead | kQualificationLinearValid | kQualificationTranslation)
#define WRITE (kQualificationWrite | kQualificationLinearValid | kQualificationTranslation)
#define FETCH (kQualificationFetch | kQualificationLinearValid | kQualificationTranslation)

#define NO_ADDRESS_EXPECTED (~0ull)

// The lessons: the exits before each of L2's VMCALLs.
typedef struct {
  const char* lesson;  // first exit of a lesson only
  uint32_t reason;
  uint64_t gpa, gla;
  uint32_t qualification, mask;
} ExpectedExit;

static const ExpectedExit kExpected[] = {
    {"L2's first fetch: its page tables, then its code", kExitEptViolation, GUEST_PML4, GUEST_CODE,
     TABLE_READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_PDPT, GUEST_CODE, TABLE_READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_PD_LOW, GUEST_CODE, TABLE_READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_PT + 8, GUEST_CODE, TABLE_READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_CODE, GUEST_CODE, FETCH, QUALIFICATION_STABLE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"read, then write: a permission upgrade", kExitEptViolation, TOUCH_DATA, TOUCH_DATA, READ,
     QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, TOUCH_DATA, TOUCH_DATA, WRITE | kQualificationReadable,
     QUALIFICATION_STABLE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"one instruction that reads and writes", kExitEptViolation, TOUCH_READ_MODIFY_WRITE,
     TOUCH_READ_MODIFY_WRITE, WRITE, QUALIFICATION_READ_MODIFY_WRITE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"a dirty flag to set in L2's page table", kExitEptViolation, TOUCH_CLEAN_PAGE,
     TOUCH_CLEAN_PAGE, READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_PT + 8 * (GUEST_CLEAN_PAGE >> 12), TOUCH_CLEAN_PAGE,
     TABLE_WRITE | kQualificationReadable, QUALIFICATION_READ_MODIFY_WRITE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"a page read, then executed; a stack", kExitEptViolation, GUEST_SUBROUTINE, GUEST_SUBROUTINE,
     READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_STACK + 0xff8, GUEST_STACK + 0xff8, WRITE,
     QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, GUEST_SUBROUTINE, GUEST_SUBROUTINE, FETCH | kQualificationReadable,
     QUALIFICATION_STABLE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"two touches of one page of 2 MiB", kExitEptViolation, TOUCH_2M, TOUCH_2M, READ,
     QUALIFICATION_STABLE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"the second GiB", kExitEptViolation, GUEST_PD_HIGH + 8 * ((GUEST_1G_TOUCHED - GUEST_1G) >> 21),
     TOUCH_1G, TABLE_READ, QUALIFICATION_STABLE},
    {NULL, kExitEptViolation, TOUCH_1G, TOUCH_1G, WRITE, QUALIFICATION_STABLE},
    {NULL, kExitVmcall, 0, 0, 0, 0},

    {"a mistake of L1: a page writable but not readable", kExitEptViolation, TOUCH_MISTAKE,
     TOUCH_MISTAKE, READ, QUALIFICATION_STABLE},
    {NULL, kExitEptMisconfiguration, TOUCH_MISTAKE, NO_ADDRESS_EXPECTED, 0, 0},
    {NULL, kExitVmcall, 0, 0, 0, 0},
};

// What RAX must be at the VMCALLs of these lessons, in order.
static const uint64_t kExpectedReads[] = {
    0, 0xd1d1, 0x41, 0xd2d2, 0xc3, 0x5a5a0000 + 0xa5a5, WRITTEN_1G, 0xd3d3};

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static unsigned failures;

static void check(bool condition, const char* what) {
  if (condition) return;
  print("  FAIL: %s\n", what);
  failures++;
}

static uint64_t* guest_word(uint64_t gpa) { return guest_memory_at(gpa); }

static uint32_t enter(GuestRegisters* guest, bool resume) {
  if (vm_enter(guest, resume) != kVmSucceed) {
    give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
  return (uint32_t)vmcs_read(kExitReason);
}

// The lazy part: gives the page of GPA what the access wanted and was refused, read permission in
// any case.
static void handle_violation(uint64_t gpa, uint64_t qualification) {
  uint64_t rights = EPT_READ;
  if (qualification & kQualificationWrite) rights |= EPT_WRITE;
  if (qualification & kQualificationFetch) rights |= EPT_EXECUTE;
  if (gpa == TOUCH_CLEAN_PAGE) rights |= EPT_WRITE;
  const uint64_t size = guest_memory_map(gpa, rights);
  if (!size) give_up("L2 touched %#lx, where it has no memory", gpa);
  if (gpa == TOUCH_MISTAKE) {
    guest_memory_set_rights(gpa, EPT_WRITE);
    rights = EPT_WRITE;
  }
  print("  -> %c%c%c added to a page of %lu KiB\n", rights & EPT_READ ? 'R' : '-',
        rights & EPT_WRITE ? 'W' : '-', rights & EPT_EXECUTE ? 'X' : '-', size >> 10);
}

static void print_violation(uint64_t gpa, uint64_t gla, uint64_t qualification) {
  print("EPT violation: %s%s%sat GPA %#lx, %s of linear address %#lx; there: %c%c%c\n",
        qualification & kQualificationRead ? "read " : "",
        qualification & kQualificationWrite ? "write " : "",
        qualification & kQualificationFetch ? "fetch " : "", gpa,
        qualification & kQualificationTranslation ? "translation" : "page walk", gla,
        qualification & kQualificationReadable ? 'R' : '-',
        qualification & kQualificationWritable ? 'W' : '-',
        qualification & kQualificationExecutable ? 'X' : '-');
}

static void run_lessons(GuestRegisters* guest) {
  unsigned reads = 0;
  for (unsigned i = 0; i < sizeof kExpected / sizeof kExpected[0]; i++) {
    const ExpectedExit* expected = &kExpected[i];
    if (expected->lesson) print("%s\n", expected->lesson);
    const uint32_t reason = enter(guest, i != 0);
    const uint64_t qualification = vmcs_read(kExitQualification);
    if (reason != expected->reason) {
      give_up("expected %s, got %s (%#x), qualification %#lx, GPA %#lx, RIP %#lx",
              exit_reason_name(expected->reason), exit_reason_name(reason), reason, qualification,
              vmcs_read(kGuestPhysicalAddress), vmcs_read(kGuestRip));
    }
    if (reason == kExitVmcall) {
      print("  L2 read %#lx\n", guest->rax);
      check(guest->rax == kExpectedReads[reads++], "L2 read something else than L1 put there");
      vmcs_skip_instruction();
      continue;
    }
    const uint64_t gpa = vmcs_read(kGuestPhysicalAddress);
    if (reason == kExitEptMisconfiguration) {
      print("EPT misconfiguration: at GPA %#lx, the entry is %#lx\n", gpa, *guest_memory_leaf(gpa));
      check(gpa == expected->gpa, "guest-physical address");
      guest_memory_set_rights(gpa, EPT_READ | EPT_WRITE);
      continue;
    }
    const uint64_t gla = vmcs_read(kGuestLinearAddress);
    print_violation(gpa, gla, qualification);
    check(gpa == expected->gpa, "guest-physical address");
    check(gla == expected->gla, "guest-linear address");
    check((qualification & expected->mask) == (expected->qualification & expected->mask),
          "exit qualification");
    handle_violation(gpa, qualification);
  }
}

static void count_walks(void) {
  const bool has_1g = read_msr(kMsrVmxEptVpidCapabilities) & EPT_CAP_1G_PAGES;
  const struct {
    const char* what;
    uint64_t linear;
    unsigned expected;
  } kRows[] = {
      {"4-KiB page, mapped by 4 KiB", TOUCH_DATA, 4 * 5 + 4},
      {"2-MiB page, mapped by 2 MiB", TOUCH_2M, 3 * 5 + 3},
      {has_1g ? "2-MiB page, mapped by 1 GiB" : "2-MiB page, mapped by 2 MiB", TOUCH_1G,
       3 * 5 + (has_1g ? 2 : 3)},
  };
  print("table entries that a walk references, nothing cached:\n");
  for (unsigned i = 0; i < sizeof kRows / sizeof kRows[0]; i++) {
    const unsigned count = guest_memory_count_walk(kRows[i].linear);
    print("  %s (linear address %#lx): %u\n", kRows[i].what, kRows[i].linear, count);
    check(count == kRows[i].expected, "number of references");
  }
}

// With accessed and dirty flags, the processor itself says which EPT entries it used.
static void watch_flags(GuestRegisters* guest) {
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  const uint64_t needed = EPT_CAP_ACCESSED_DIRTY | EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE;
  if ((capabilities & needed) != needed) {
    print(
        "skipped: accessed-dirty: the processor has no such flags for EPT, or no single-context "
        "INVEPT\n");
    return;
  }
  print("accessed and dirty flags for EPT: a guest page walk now counts as a write\n");
  const uint64_t eptp = guest_memory_ept_pointer(true);
  vmcs_write(kEptPointer, eptp);
  // All of L2's tables become writable but for the PML4 table, where the lesson is.
  static const uint64_t kTables[] = {GUEST_PDPT, GUEST_PD_LOW, GUEST_PD_HIGH, GUEST_PT};
  for (unsigned i = 0; i < sizeof kTables / sizeof kTables[0]; i++) {
    guest_memory_set_rights(kTables[i], EPT_READ | EPT_WRITE);
  }
  vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){eptp, 0});
  uint32_t reason = enter(guest, true);
  const uint64_t gpa = vmcs_read(kGuestPhysicalAddress);
  const uint64_t qualification = vmcs_read(kExitQualification);
  if (reason != kExitEptViolation)
    give_up("expected EPT violation, got %s", exit_reason_name(reason));
  print_violation(gpa, vmcs_read(kGuestLinearAddress), qualification);
  check(gpa == GUEST_PML4, "guest-physical address");
  check((qualification & QUALIFICATION_STABLE) ==
            (TABLE_READ | kQualificationWrite | kQualificationReadable),
        "exit qualification: read and write");
  handle_violation(gpa, kQualificationWrite);

  static const struct {
    const char* what;
    uint64_t gpa;
    bool written;
  } kTouches[] = {
      {"read of a 4-KiB page", TOUCH_DATA, false},
      {"read of a 2-MiB page", TOUCH_2M, false},
      {"write in the second GiB", TOUCH_1G, true},
  };
  for (unsigned i = 0; i < sizeof kTouches / sizeof kTouches[0]; i++) {
    guest_memory_clear_flags();
    vmx_invalidate_ept(kInveptSingleContext, (InvalidationDescriptor){eptp, 0});
    reason = enter(guest, true);
    if (reason != kExitVmcall) give_up("expected VMCALL, got %s", exit_reason_name(reason));
    vmcs_skip_instruction();
    print("  %s: %u EPT entries accessed, %u dirty\n", kTouches[i].what,
          guest_memory_count_flag(EPT_ACCESSED), guest_memory_count_flag(EPT_DIRTY));
    const uint64_t leaf = *guest_memory_leaf(kTouches[i].gpa);
    check(leaf & EPT_ACCESSED, "the page's entry is accessed");
    check(!(leaf & EPT_DIRTY) == !kTouches[i].written,
          "the page's entry is dirty if and only if written");
    check(*guest_memory_leaf(GUEST_PML4) & EPT_DIRTY,
          "L2's PML4 table is dirty: its use counts as a write");
    check(!(*guest_memory_leaf(TOUCH_MISTAKE) & (EPT_ACCESSED | EPT_DIRTY)),
          "an untouched page stays clean");
  }
}

void image_main(void) {
  print("%s: an EPT that starts empty\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  vmcs_write_controls_64bit(kCpu2Ept);
  guest_memory_prepare();
  *guest_word(TOUCH_DATA) = kExpectedReads[1];
  *guest_word(TOUCH_READ_MODIFY_WRITE) = kExpectedReads[2] - 1;
  *guest_word(TOUCH_CLEAN_PAGE) = kExpectedReads[3];
  *guest_word(TOUCH_2M) = 0x5a5a0000;
  *guest_word(TOUCH_2M_END) = 0xa5a5;
  *guest_word(TOUCH_MISTAKE) = kExpectedReads[7];

  vmcs_write(kEptPointer, guest_memory_ept_pointer(false));
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit(GUEST_CODE, GUEST_STACK + 0x1000);
  vmcs_write(kGuestCr3, GUEST_PML4);

  GuestRegisters guest = {0};
  run_lessons(&guest);
  check(*guest_word(TOUCH_DATA) == WRITTEN_DATA, "L2's write did not arrive in its data page");
  check(*guest_word(TOUCH_CLEAN_PAGE) == WRITTEN_CLEAN_PAGE,
        "L2's write did not arrive in its clean page");
  check(*guest_word(TOUCH_1G) == WRITTEN_1G, "L2's write did not arrive in the second GiB");
  check(*guest_word(GUEST_PT + 8 * (GUEST_CLEAN_PAGE >> 12)) & 0x40,
        "L2's PTE did not become dirty");
  count_walks();
  watch_flags(&guest);
  finish(kImage, failures);
}
