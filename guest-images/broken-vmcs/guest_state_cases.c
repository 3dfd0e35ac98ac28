// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest state, other than segments, that no processor could be in; and MSRs that VM entry cannot
// load. Source: Intel SDM, "Checks on the Guest State Area" and "Loading MSRs".
#include "guest-images/broken-vmcs/cases.h"
#include "guest-images/lib/processor.h"

enum {
  kRflagsTf = 1 << 8,
  kRflagsIf = 1 << 9,
  kRflagsVm = 1 << 17,
  kBlockingBySti = 1 << 0,
  kBlockingByMovSs = 1 << 1,
  kBlockingBySmi = 1 << 2,
  kBlockingByNmi = 1 << 3,
  kActivityHlt = 1,
};

#define INJECT_INTERRUPT 0x80000020ull
#define INJECT_NMI 0x80000202ull
#define INJECT_UD 0x80000306ull
#define BAD_PAT 0x0007040600070402ull

#define CASE(case_name, rule, ...)                                                                \
  {                                                                                               \
    .name = case_name, .why = rule, .expected = BAD_GUEST_STATE(kQualificationNone), .changes = { \
      __VA_ARGS__                                                                                 \
    }                                                                                             \
  }

static uint32_t page_of_another_revision[1024] __attribute__((aligned(4096)));

static const char* no_hlt_state(void) {
  return read_msr(kMsrVmxMisc) >> 6 & 1 ? NULL : "IA32_VMX_MISC[6]: no HLT activity state";
}

static const EntryCase kGuestStateCases[] = {
    CASE("guest-cr0-fixed", "CR0.NE must be 1 in VMX operation", CLEAR(kGuestCr0, kCr0Ne)),
    CASE("guest-cr0-pg-without-pe", "CR0.PG needs CR0.PE", CLEAR(kGuestCr0, kCr0Pe)),
    CASE("guest-cr4-fixed", "CR4.VMXE must be 1 in VMX operation", CLEAR(kGuestCr4, kCr4Vmxe)),
    CASE("guest-cr4-reserved", "CR4 bit 15 must be 0", SET(kGuestCr4, 1 << 15)),
    CASE("guest-cr4-pae", "CR4.PAE must be 1 in IA-32e mode", CLEAR(kGuestCr4, kCr4Pae)),
    CASE("guest-cr3-beyond-width", "CR3 must not exceed the physical-address width",
         SET(kGuestCr3, BEYOND_WIDTH)),
    {.name = "guest-debugctl",
     .why = "IA32_DEBUGCTL bit 40 is reserved",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadDebugControls}},
     .changes = {SET(kGuestDebugctl, 1ull << 40)}},
    {.name = "guest-dr7",
     .why = "bits 63:32 of DR7 must be 0",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadDebugControls}},
     .changes = {SET(kGuestDr7, 1ull << 32)}},
    CASE("guest-sysenter-esp", "IA32_SYSENTER_ESP must be canonical",
         VALUE(kGuestSysenterEsp, NON_CANONICAL)),
    CASE("guest-sysenter-eip", "IA32_SYSENTER_EIP must be canonical",
         VALUE(kGuestSysenterEip, NON_CANONICAL)),
    {.name = "guest-pat",
     .why = "IA32_PAT must not hold memory type 2",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadPat}},
     .changes = {VALUE(kGuestPat, BAD_PAT)}},
    {.name = "guest-efer-reserved",
     .why = "IA32_EFER bit 1 is reserved",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadEfer}},
     .changes = {SET(kGuestEfer, 1 << 1)}},
    {.name = "guest-efer-lma",
     .why = "IA32_EFER.LMA must equal \"IA-32e mode guest\"",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadEfer}},
     .changes = {CLEAR(kGuestEfer, kEferLma)}},
    {.name = "guest-efer-lme",
     .why = "IA32_EFER.LME must equal LMA while CR0.PG is 1",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsEntry, kEntryLoadEfer}},
     .changes = {CLEAR(kGuestEfer, kEferLme)}},
    CASE("rip-64-bit", "the bits of RIP above the linear-address width must be identical",
         VALUE(kGuestRip, NON_CANONICAL)),
    CASE("rip-compatibility", "bits 63:32 of RIP must be 0 if CS.L is 0",
         VALUE(kGuestCsAccessRights, 0xc09b), SET(kGuestRip, 1ull << 32)),
    CASE("rflags-bit-1", "RFLAGS bit 1 must be 1", CLEAR(kGuestRflags, 1 << 1)),
    CASE("rflags-reserved", "RFLAGS bit 3 must be 0", SET(kGuestRflags, 1 << 3)),
    CASE("rflags-vm", "RFLAGS.VM must be 0 in IA-32e mode", SET(kGuestRflags, kRflagsVm)),
    CASE("inject-interrupt-without-if", "RFLAGS.IF must be 1 to inject an external interrupt",
         VALUE(kVmEntryInterruptionInformation, INJECT_INTERRUPT)),
    CASE("activity-state-reserved", "activity state 4 does not exist",
         VALUE(kGuestActivityState, 4)),
    {.name = "hlt-blocked-by-sti",
     .why = "the activity state must be active while STI blocks events",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .changes = {VALUE(kGuestActivityState, kActivityHlt),
                 VALUE(kGuestInterruptibilityState, kBlockingBySti), SET(kGuestRflags, kRflagsIf)},
     .unfit = no_hlt_state},
    {.name = "hlt-inject-ud",
     .why = "#UD cannot be injected into the HLT state",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .changes = {VALUE(kGuestActivityState, kActivityHlt),
                 VALUE(kVmEntryInterruptionInformation, INJECT_UD)},
     .unfit = no_hlt_state},
    CASE("interruptibility-reserved", "bits 31:5 of the interruptibility state must be 0",
         VALUE(kGuestInterruptibilityState, 1 << 8)),
    CASE("blocking-by-sti-and-mov-ss", "STI and MOV SS cannot both block events",
         VALUE(kGuestInterruptibilityState, kBlockingBySti | kBlockingByMovSs),
         SET(kGuestRflags, kRflagsIf)),
    CASE("blocking-by-sti-without-if", "STI cannot block events while RFLAGS.IF is 0",
         VALUE(kGuestInterruptibilityState, kBlockingBySti)),
    CASE("blocking-by-smi", "SMIs cannot be blocked outside of SMM",
         VALUE(kGuestInterruptibilityState, kBlockingBySmi)),
    CASE("inject-interrupt-blocked-by-mov-ss",
         "an external interrupt cannot be injected while MOV SS blocks events",
         VALUE(kGuestInterruptibilityState, kBlockingByMovSs), SET(kGuestRflags, kRflagsIf),
         VALUE(kVmEntryInterruptionInformation, INJECT_INTERRUPT)),
    {.name = "inject-nmi-blocked-by-sti",
     .why = "an NMI cannot be injected while STI blocks events",
     .expected = BAD_GUEST_STATE(kQualificationNmiBlockedBySti),
     .changes = {VALUE(kGuestInterruptibilityState, kBlockingBySti), SET(kGuestRflags, kRflagsIf),
                 VALUE(kVmEntryInterruptionInformation, INJECT_NMI)}},
    {.name = "inject-nmi-blocked-by-nmi",
     .why = "with \"virtual NMIs\", an NMI cannot be injected while NMIs are blocked",
     .expected = BAD_GUEST_STATE(kQualificationNone),
     .needs = {{kControlsPinBased, kPinNmiExiting | kPinVirtualNmis}},
     .changes = {VALUE(kGuestInterruptibilityState, kBlockingByNmi),
                 VALUE(kVmEntryInterruptionInformation, INJECT_NMI)}},
    CASE("pending-debug-reserved", "bits 11:4 of the pending debug exceptions must be 0",
         VALUE(kGuestPendingDebugExceptions, 1 << 4)),
    CASE("pending-debug-bs", "BS must be 1 if RFLAGS.TF is 1 while MOV SS blocks events",
         VALUE(kGuestInterruptibilityState, kBlockingByMovSs), SET(kGuestRflags, kRflagsTf)),
    {.name = "link-pointer-misaligned",
     .why = "bits 11:0 of the VMCS link pointer must be 0",
     .expected = BAD_GUEST_STATE(kQualificationLinkPointer),
     .changes = {VALUE(kVmcsLinkPointer, (uint64_t)page_of_another_revision + MISALIGNED)}},
    {.name = "link-pointer-revision",
     .why = "the VMCS link pointer must refer to a page with the VMCS revision identifier",
     .expected = BAD_GUEST_STATE(kQualificationLinkPointer),
     .changes = {VALUE(kVmcsLinkPointer, (uint64_t)page_of_another_revision)}},
    {.name = "link-pointer-to-itself",
     .why = "the VMCS link pointer must not refer to the current VMCS",
     .expected = BAD_GUEST_STATE(kQualificationLinkPointer),
     .changes = {VALUE(kVmcsLinkPointer, (uint64_t)vmcs_region)}},
    {.name = "pdpte-reserved",
     .why = "bits 2:1 of a present PDPTE of PAE paging are reserved",
     .expected = BAD_GUEST_STATE(kQualificationPdptes),
     .needs = {{kControlsProcessorBased2, kCpu2Ept}, {kControlsEntry, kEntryLoadEfer}},
     .changes = {CLEAR(kVmEntryControls, kEntryIa32eGuest), CLEAR(kGuestEfer, kEferLma | kEferLme),
                 VALUE(kGuestCsAccessRights, 0xc09b), VALUE(kGuestPdpte0, 0x7),
                 VALUE(kGuestPdpte0 + 2, 0), VALUE(kGuestPdpte0 + 4, 0),
                 VALUE(kGuestPdpte0 + 6, 0)}},
};

EntryCases guest_state_cases(void) {
  page_of_another_revision[0] = ~VMX_BASIC_REVISION(read_msr(kMsrVmxBasic)) & 0x7fffffff;
  return (EntryCases){kGuestStateCases, sizeof kGuestStateCases / sizeof kGuestStateCases[0]};
}

// An entry of the VM-entry MSR-load area.
typedef struct {
  uint32_t index, reserved;
  uint64_t value;
} __attribute__((aligned(16))) MsrEntry;

#define HARMLESS \
  { kMsrSysenterCs, 0, 0 }

static const MsrEntry kLoadFsBase[] = {{kMsrFsBase, 0, 0}};
static const MsrEntry kLoadGsBaseSecond[] = {HARMLESS, {kMsrGsBase, 0, 0}};
static const MsrEntry kLoadX2apic[] = {{0x808, 0, 0}};
static const MsrEntry kLoadReserved[] = {HARMLESS, HARMLESS, {kMsrSysenterCs, 1, 0}};
static const MsrEntry kLoadBadValue[] = {{kMsrSysenterEip, 0, NON_CANONICAL}};

#define MSR_CASE(case_name, rule, list, failing_entry)                                       \
  {                                                                                          \
    .name = case_name, .why = rule, .expected = BAD_MSR_LOADING(failing_entry), .changes = { \
      VALUE(kVmEntryMsrLoadAddress, (uint64_t)(list)),                                       \
      VALUE(kVmEntryMsrLoadCount, sizeof(list) / sizeof(MsrEntry))                           \
    }                                                                                        \
  }

static const EntryCase kMsrLoadingCases[] = {
    MSR_CASE("msr-load-fs-base", "IA32_FS_BASE cannot be loaded from the list", kLoadFsBase, 1),
    MSR_CASE("msr-load-gs-base-second",
             "IA32_GS_BASE cannot be loaded; the qualification counts entries from 1",
             kLoadGsBaseSecond, 2),
    MSR_CASE("msr-load-x2apic", "MSRs 800H to 8FFH cannot be loaded from the list", kLoadX2apic, 1),
    MSR_CASE("msr-load-reserved", "bits 63:32 of an entry must be 0", kLoadReserved, 3),
    MSR_CASE("msr-load-value", "WRMSR of this value would cause #GP: it is not canonical",
             kLoadBadValue, 1),
};

EntryCases msr_loading_cases(void) {
  return (EntryCases){kMsrLoadingCases, sizeof kMsrLoadingCases / sizeof kMsrLoadingCases[0]};
}
