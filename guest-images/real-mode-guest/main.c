// SPDX-License-Identifier: GPL-2.0-or-later
//
// An unrestricted guest: L2 starts in real mode, and L1 watches it change modes.
#include <stddef.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"
#include "guest-images/real-mode-guest/guest_layout.h"

static const char kImage[] = "real-mode-guest";

extern const uint8_t guest_image[], guest_image_end[];  // guest.S

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t msr_bitmaps[4096] __attribute__((aligned(4096)));
static unsigned failures;

// What makes up a mode.
typedef struct {
  bool pe, pg, pae, lma, entry_ia32e, cs_d, cs_l;
} Mode;

static const struct {
  const char* name;
  Mode mode;
} kStages[] = {
    {"real mode", {0}},
    {"protected mode, CS not yet reloaded", {.pe = 1}},
    {"32-bit protected mode", {.pe = 1, .cs_d = 1}},
    {"32-bit protected mode, PAE paging", {.pe = 1, .pg = 1, .pae = 1, .cs_d = 1}},
    {"compatibility mode", {.pe = 1, .pg = 1, .pae = 1, .lma = 1, .entry_ia32e = 1, .cs_d = 1}},
    {"64-bit mode", {.pe = 1, .pg = 1, .pae = 1, .lma = 1, .entry_ia32e = 1, .cs_l = 1}},
};
enum { kStageCount = sizeof kStages / sizeof kStages[0] };

enum { kRightsL = 1 << 13, kRightsD = 1 << 14 };

static void check(bool condition, const char* what) {
  if (condition) return;
  print("  FAIL: %s\n", what);
  failures++;
}

// Mode of L2 at the last VM exit, from the VMCS alone.
static Mode guest_mode(void) {
  const uint64_t cr0 = vmcs_read(kGuestCr0);
  const uint64_t rights = vmcs_read(kGuestCsAccessRights);
  return (Mode){
      .pe = cr0 & kCr0Pe,
      .pg = cr0 & kCr0Pg,
      .pae = vmcs_read(kGuestCr4) & kCr4Pae,
      .lma = vmcs_read(kGuestEfer) & kEferLma,
      .entry_ia32e = vmcs_read(kVmEntryControls) & kEntryIa32eGuest,
      .cs_d = rights & kRightsD,
      .cs_l = rights & kRightsL,
  };
}

static void print_mode(Mode mode) {
  print(
      "  CR0.PE=%u CR0.PG=%u CR4.PAE=%u EFER.LMA=%u IA-32e-mode guest=%u CS.D=%u CS.L=%u "
      "CS=%#lx:%#lx\n",
      mode.pe, mode.pg, mode.pae, mode.lma, mode.entry_ia32e, mode.cs_d, mode.cs_l,
      vmcs_read(kGuestCsSelector), vmcs_read(kGuestRip));
}

static bool same_mode(Mode a, Mode b) {
  return a.pe == b.pe && a.pg == b.pg && a.pae == b.pae && a.lma == b.lma &&
         a.entry_ia32e == b.entry_ia32e && a.cs_d == b.cs_d && a.cs_l == b.cs_l;
}

static void fill_controls(void) {
  controls_write(kControlsPinBased, 0, 0, "");
  controls_write(
      kControlsProcessorBased,
      CPU_ACTIVATE_SECONDARY | kCpuHltExiting | kCpuUnconditionalIoExiting | kCpuUseMsrBitmaps, 0,
      "secondary processor-based controls, HLT exiting, unconditional I/O exiting, or MSR bitmaps");
  controls_write(kControlsProcessorBased2, kCpu2Ept | kCpu2UnrestrictedGuest, 0,
                 "unrestricted guest");
  controls_write(kControlsExit, kExitHostAddressSpaceSize | kExitSaveEfer | kExitLoadEfer, 0,
                 "saving and loading IA32_EFER on VM exit");
  // Not an IA-32e mode guest at first. Each VM exit copies EFER.LMA into this control.
  controls_write(kControlsEntry, kEntryLoadEfer, 0, "loading IA32_EFER on VM entry");
  vmcs_write(kMsrBitmaps, (uint64_t)msr_bitmaps);  // all zeros: no RDMSR or WRMSR of EFER exits
  vmcs_write_no_exceptions_and_lists();
  vmcs_write(kEptPointer, ept_identity_map());
}

// The state of a processor that has just jumped to GUEST_SEGMENT:0 in real mode.
static void fill_real_mode_guest_state(void) {
  // VMX operation needs CR0.NE and CR4.VMXE even here. L1 owns both bits and shows L2 zeros, which
  // is also all that L2 may write there without a VM exit.
  vmcs_write(kGuestCr0, (read_msr(kMsrVmxCr0Fixed0) & ~(uint64_t)(kCr0Pe | kCr0Pg)) | kCr0Et);
  vmcs_write(kCr0GuestHostMask, kCr0Ne);
  vmcs_write(kCr0ReadShadow, 0);
  vmcs_write(kGuestCr4, read_msr(kMsrVmxCr4Fixed0));
  vmcs_write(kCr4GuestHostMask, kCr4Vmxe);
  vmcs_write(kCr4ReadShadow, 0);
  vmcs_write(kGuestCr3, 0);
  vmcs_write(kGuestEfer, 0);

  // Real-mode segments: base = selector * 16, limit 64 KiB.
  for (unsigned i = 0; i < 6; i++) {
    const bool code = kGuestEsSelector + 2 * i == kGuestCsSelector;
    vmcs_write(kGuestEsSelector + 2 * i, code ? GUEST_SEGMENT : 0);
    vmcs_write(kGuestEsBase + 2 * i, code ? GUEST_SEGMENT * 16 : 0);
    vmcs_write(kGuestEsLimit + 2 * i, 0xffff);
    vmcs_write(kGuestEsAccessRights + 2 * i, code ? kRightsCode16 : kRightsData16);
  }
  vmcs_write(kGuestIdtrBase, 0);
  vmcs_write(kGuestIdtrLimit, 0x3ff);
  vmcs_write(kGuestGdtrBase, 0);
  vmcs_write(kGuestGdtrLimit, 0);
}

static unsigned stage;  // next one expected
static char text[32];
static unsigned text_length;

static void handle_cpuid(GuestRegisters* guest) {
  if (stage == kStageCount || guest->rax != GUEST_STAGE_LEAF + stage) {
    give_up("unexpected CPUID: leaf %#lx at stage %u", guest->rax, stage);
  }
  const Mode mode = guest_mode();
  print("stage %u: %s\n", stage, kStages[stage].name);
  print_mode(mode);
  check(same_mode(mode, kStages[stage].mode), "L2 is in another mode");
  check(!(vmcs_read(kGuestEfer) & kEferLme) == !mode.entry_ia32e, "EFER.LME differs from the mode");
  stage++;
}

// One-byte OUT to an immediate port; qualification as in the manual's table "Exit Qualification for
// I/O Instructions".
static void handle_io(const GuestRegisters* guest) {
  const uint64_t expected = (uint64_t)NESTOR_PORT_DEBUG_CONSOLE << 16 | 1 << 6;
  const uint64_t qualification = vmcs_read(kExitQualification);
  check(qualification == expected, "qualification of the I/O instruction");
  const char letter = (char)guest->rax;
  if (letter == '\n') {
    print("L2 prints, in real mode: \"%s\"\n", text);
  } else if (text_length < sizeof text - 1) {
    text[text_length++] = letter;
  }
}

static void handle_vmcall(const GuestRegisters* guest) {
  print("VMCALL with RAX %#lx\n", guest->rax);
  print_mode(guest_mode());
  if (stage == 1) {
    check(guest->rax == GUEST_CALL_REAL_MODE,
          "RAX of the VMCALL in the real-mode interrupt handler");
    check(!(vmcs_read(kGuestCr0) & kCr0Pe), "CR0.PE in the real-mode interrupt handler");
  } else {
    check(stage == kStageCount, "VMCALL before the last stage");
    check(guest->rax == ((uint64_t)GUEST_CALL_64BIT << 32 | GUEST_CALL_64BIT),
          "RAX of the VMCALL in 64-bit mode");
  }
}

void image_main(void) {
  print("%s: from real mode to 64-bit mode under VMX\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  memset((void*)GUEST_BASE, 0, GUEST_STACK_TOP - GUEST_BASE);
  memcpy((void*)GUEST_BASE, guest_image, (size_t)(guest_image_end - guest_image));
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit(0, 0);
  fill_controls();
  fill_real_mode_guest_state();

  GuestRegisters guest = {0};
  for (bool resume = false;; resume = true) {
    if (vm_enter(&guest, resume) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
    switch (reason) {
      case kExitCpuid:
        handle_cpuid(&guest);
        break;
      case kExitIoInstruction:
        handle_io(&guest);
        break;
      case kExitVmcall:
        handle_vmcall(&guest);
        break;
      case kExitHlt:
        print("HLT\n");
        check(stage == kStageCount, "L2 halted too early");
        finish(kImage, failures);
      default:
        give_up("unexpected VM exit: %s (%#x), qualification %#lx, CS:RIP %#lx:%#lx",
                exit_reason_name(reason), reason, vmcs_read(kExitQualification),
                vmcs_read(kGuestCsSelector), vmcs_read(kGuestRip));
    }
    vmcs_skip_instruction();
  }
}
