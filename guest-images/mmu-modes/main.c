// SPDX-License-Identifier: GPL-2.0-or-later
//
// One guest, its memory virtualized by whatever the processor offers: EPT, or shadow paging.
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"
#include "guest-images/mmu-modes/guest.h"
#include "guest-images/mmu-modes/guest_memory.h"
#include "guest-images/mmu-modes/shadow_paging.h"

static const char kImage[] = "mmu-modes";

enum { kGuestVpid = 1, kPageFaultVector = 14 };

#define EVENT_INJECTABLE 0x80000fffu  // without "NMI unblocking due to IRET" and reserved bits
#define EVENT_PAGE_FAULT (EVENT_VALID | EVENT_ERROR_CODE | EVENT_EXCEPTION | kPageFaultVector)

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));

// What L1 reads at every VM exit.
typedef struct {
  uint32_t reason;
  uint64_t qualification;
  uint32_t event, interrupted_event;
} Exit;

static void inject(uint32_t event, uint32_t error_code) {
  vmcs_write(kVmEntryInterruptionInformation, event);
  if (event & EVENT_ERROR_CODE) vmcs_write(kVmEntryExceptionErrorCode, error_code);
}

static void handle_page_fault(const Exit* exit) {
  if (exit->event != EVENT_PAGE_FAULT) give_up("L2 raised event %#x", exit->event);
  const uint64_t linear = exit->qualification;
  const uint32_t error_code = (uint32_t)vmcs_read(kVmExitInterruptionErrorCode);
  const ShadowFill fill = shadow_paging_fill(linear, error_code);
  if (fill.filled) {
    // An event whose delivery needed the page is delivered again.
    if (exit->interrupted_event & EVENT_VALID) {
      inject(exit->interrupted_event & EVENT_INJECTABLE,
             (uint32_t)vmcs_read(kIdtVectoringErrorCode));
    }
    return;
  }
  if (exit->interrupted_event & EVENT_VALID) give_up("L2 faults on its way to a handler");
  write_cr2(linear);
  inject(EVENT_PAGE_FAULT, fill.error_code);
}

static void handle_cr3(const Exit* exit, GuestRegisters* guest) {
  enum { kControlRegister = 0xf, kAccessType = 3 << 4, kMovFrom = 1 << 4 };
  if ((exit->qualification & kControlRegister) != 3 || (exit->qualification & 2 << 4)) {
    give_up("unexpected control-register access, qualification %#lx", exit->qualification);
  }
  // The numbers of the registers are the processor's: RSP, the fifth, is in the VMCS.
  const unsigned number = exit->qualification >> 8 & 0xf;
  if (number == 4) give_up("L2 exchanges CR3 with RSP");
  uint64_t* value = &guest->rax + (number > 4 ? number - 1 : number);
  if ((exit->qualification & kAccessType) == kMovFrom) {
    *value = shadow_paging_cr3();
  } else {
    shadow_paging_load_cr3(*value);
  }
  vmcs_skip_instruction();
}

// With what every VM exit and every VM entry takes, this makes 7 VMREADs and 4 VMWRITEs.
static void handle_cpuid(GuestRegisters* guest) {
  const uint32_t answer = answer_to_cpuid((uint32_t)guest->rax);
  guest->rax = guest->rbx = guest->rcx = guest->rdx = answer;
  vmcs_skip_instruction();
  // STI and MOV SS block events for one instruction.
  vmcs_write(kGuestInterruptibilityState, vmcs_read(kGuestInterruptibilityState) & ~3ull);
  vmcs_write(kVmEntryInterruptionInformation, 0);
}

static void run_guest(void) {
  static const char* const kWorkloads[] = {"start", "page faults", "TLB misses", "computation",
                                           "CPUID exits"};
  GuestRegisters guest = {0};
  for (bool resume = false;; resume = true) {
    if (vm_enter(&guest, resume) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    const Exit exit = {
        .reason = (uint32_t)vmcs_read(kExitReason),
        .qualification = vmcs_read(kExitQualification),
        .event = (uint32_t)vmcs_read(kVmExitInterruptionInformation),
        .interrupted_event = (uint32_t)vmcs_read(kIdtVectoringInformation),
    };
    switch (exit.reason) {
      case kExitCpuid:
        handle_cpuid(&guest);
        break;
      case kExitExceptionOrNmi:
        handle_page_fault(&exit);
        break;
      case kExitCrAccess:
        handle_cr3(&exit, &guest);
        break;
      case kExitInvlpg:
        shadow_paging_invalidate(exit.qualification);
        vmcs_skip_instruction();
        break;
      case kExitVmcall:
        if (guest.rax == kCallFailed) {
          give_up("L2 has an unexpected fault at %#lx, error code %#lx", guest.rbx, guest.rcx);
        }
        if (guest.rax == kCallDone) {
          print("L2 handled %lu page faults of its own\n", guest.rbx);
          return;
        }
        print("%s: checksum %#018lx\n", kWorkloads[guest.rbx], guest.rcx);
        vmcs_skip_instruction();
        break;
      default:
        give_up("unexpected VM exit: %s (%#x), qualification %#lx, RIP %#lx",
                exit_reason_name(exit.reason), exit.reason, exit.qualification,
                vmcs_read(kGuestRip));
    }
  }
}

void image_main(void) {
  print("%s: one guest, its memory virtualized as the processor can\n", kImage);
  vmx_operation_enter(vmxon_region);
  vmcs_make_current(vmcs_region);
  const bool ept = controls_offered(kControlsProcessorBased2, kCpu2Ept);
  const bool vpid = controls_offered(kControlsProcessorBased2, kCpu2Vpid) &&
                    read_msr(kMsrVmxEptVpidCapabilities) & VPID_CAP_INVVPID_SINGLE;
  const uint32_t secondary = (ept ? kCpu2Ept : 0) | (vpid ? kCpu2Vpid : 0);
  vmcs_write_controls_64bit(secondary);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)guest_main, guest_stack());
  vmcs_write(kGuestCr0, vmcs_read(kGuestCr0) | kCr0Wp);
  vmcs_write(kGuestIdtrBase, guest_idt_base());
  vmcs_write(kGuestIdtrLimit, guest_idt_limit());
  if (vpid) vmcs_write(kVpid, kGuestVpid);

  guest_prepare();
  guest_memory_fill();
  if (ept) {
    vmcs_write(kEptPointer, guest_memory_ept());
    vmcs_write(kGuestCr3, guest_cr3());
  } else {
    vmcs_write(kGuestCr3, shadow_paging_start(guest_cr3(), vpid ? kGuestVpid : 0));
    vmcs_write(kExceptionBitmap, 1u << kPageFaultVector);
    controls_write(kControlsProcessorBased,
                   kCpuHltExiting | kCpuCr3LoadExiting | kCpuCr3StoreExiting | kCpuInvlpgExiting |
                       (secondary ? CPU_ACTIVATE_SECONDARY : 0),
                   0, "exits by CR3 and INVLPG");
  }
  run_guest();
  finish(kImage, 0);
}
