// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/checks/guest_segment_view.h"
#include "vmx/guest_state_formats.h"

namespace nestor::vmx::checks {
namespace {

using F = Field;

constexpr std::string_view kSection = "Checks on Guest Non-Register State";
constexpr std::string_view kPdptes = "Checks on Guest Page-Directory-Pointer-Table Entries";

using interruptibility::kBlockingByMovSs, interruptibility::kBlockingByNmi,
    interruptibility::kBlockingBySmi, interruptibility::kBlockingBySti,
    interruptibility::kEnclaveInterruption;
using pending_debug::kEnabledBreakpoint, pending_debug::kRtm, pending_debug::kSingleStep;
constexpr uint64_t kPendingReserved = 0xff0 | 1u << 13 | 1u << 15 | ~uint64_t{0x1ffff};

uint64_t interruptibility(Context c) { return c[F::kGuestInterruptibilityState]; }
template <uint64_t kBits>
bool none_of(Context c, Field field) {
  return (c[field] & kBits) == 0;
}
template <uint64_t kBits>
bool all_of(Context c, Field field) {
  return (c[field] & kBits) == kBits;
}
template <uint64_t kBits>
bool blocked_by(Context c, Field) {
  return (interruptibility(c) & kBits) != 0;
}

// --- Activity state.
template <ActivityState kState>
bool is_in(Context c, Field) {
  return c[F::kGuestActivityState] == static_cast<uint64_t>(kState);
}
template <ActivityState kState>
bool injects_in(Context c, Field field) {
  return is_in<kState>(c, field) && injection(c).valid();
}
bool activity_supported(Context c, Field field) {
  switch (c[field]) {
    case 0:
      return true;
    case 1:
      return c.capabilities.has_misc(vmx_misc::kHlt);
    case 2:
      return c.capabilities.has_misc(vmx_misc::kShutdown);
    case 3:
      return c.capabilities.has_misc(vmx_misc::kWaitForSipi);
    default:
      return false;
  }
}
bool injects_machine_check(Injection event) {
  return event.type() == EventType::kHardwareException && event.vector() == kMc;
}
bool wakes_hlt(Context c, Field) {
  const Injection event = injection(c);
  switch (event.type()) {
    case EventType::kExternalInterrupt:
    case EventType::kNmi:
      return true;
    case EventType::kHardwareException:
      return event.vector() == kDb || event.vector() == kMc;
    case EventType::kOther:
      return event.vector() == 0;
    default:
      return false;
  }
}
bool wakes_shutdown(Context c, Field) {
  return injection(c).type() == EventType::kNmi || injects_machine_check(injection(c));
}

// --- Interruptibility state.
template <EventType kType>
bool injects(Context c, Field) {
  return injection(c).is(kType);
}
bool injects_virtual_nmi(Context c, Field) {
  return c.vmcs.has(PinBased::kVirtualNmis) && injection(c).is(EventType::kNmi);
}
bool outside_smm(Context c, Field) { return !c.in_smm; }

// --- Pending debug exceptions.
bool single_step_pending(Context c) {
  return (c[F::kGuestRflags] & rflags::kTf) != 0 &&
         (c[F::kGuestIa32Debugctl] & debugctl::kBtf) == 0;
}
bool bs_matters(Context c, Field field) {
  return blocked_by<kBlockingBySti | kBlockingByMovSs>(c, field) ||
         is_in<ActivityState::kHlt>(c, field);
}
bool rtm_pending(Context c, Field) { return (c[F::kGuestPendingDebugExceptions] & kRtm) != 0; }

// --- VMCS link pointer.
constexpr uint64_t kNoLink = ~uint64_t{0};
bool linked(Context c, Field field) { return c[field] != kNoLink; }
bool linked_in_memory(Context c, Field field) { return linked(c, field) && c.memory != nullptr; }
uint32_t first_bytes(Context c, Field field) {
  std::array<uint8_t, 4> bytes{};
  c.memory->read({c[field]}, bytes);
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}
bool link_revision(Context c, Field field) {
  return (first_bytes(c, field) & ~kShadowVmcsIndicator) == c.capabilities.revision_id;
}
bool link_shadow(Context c, Field field) {
  return ((first_bytes(c, field) & kShadowVmcsIndicator) != 0) ==
         c.vmcs.has(SecondaryProcBased::kVmcsShadowing);
}
bool link_to_current_forbidden(Context c, Field field) {
  return linked(c, field) && c.current_vmcs.has_value() &&
         (!c.in_smm || c.vmcs.has(VmEntryControl::kEntryToSmm));
}
bool link_to_executive_forbidden(Context c, Field field) {
  return linked(c, field) && c.in_smm && !c.vmcs.has(VmEntryControl::kEntryToSmm);
}

constexpr EntryCheck kChecks[] = {
    // Activity state.
    {"guest-activity-supported", F::kGuestActivityState, always, activity_supported,
     "must be 0 (active) or an activity state that IA32_VMX_MISC reports", kSection},
    {"guest-hlt-dpl", F::kGuestActivityState, is_in<ActivityState::kHlt>,
     [](Context c, Field) { return rights(c, kSs).dpl() == 0; },
     "must not be HLT if the DPL of SS is not 0", kSection},
    {"guest-activity-blocking", F::kGuestActivityState,
     blocked_by<kBlockingBySti | kBlockingByMovSs>, is_in<ActivityState::kActive>,
     "must be active if there is blocking by STI or by MOV SS", kSection},
    {"guest-hlt-injection", F::kGuestActivityState, injects_in<ActivityState::kHlt>, wakes_hlt,
     "HLT allows injection of external interrupt, NMI, #DB, #MC and pending MTF only", kSection},
    {"guest-shutdown-injection", F::kGuestActivityState, injects_in<ActivityState::kShutdown>,
     wakes_shutdown, "shutdown allows injection of NMI and #MC only", kSection},
    {"guest-wait-for-sipi-injection", F::kGuestActivityState,
     injects_in<ActivityState::kWaitForSipi>, never, "wait-for-SIPI allows no injection", kSection},
    {"guest-wait-for-sipi-smm", F::kGuestActivityState, on<VmEntryControl::kEntryToSmm>,
     [](Context c, Field f) { return !is_in<ActivityState::kWaitForSipi>(c, f); },
     "must not be wait-for-SIPI if \"entry to SMM\" is 1", kSection},
    // Interruptibility state.
    {"guest-interruptibility-reserved", F::kGuestInterruptibilityState, always, zero<31, 5>,
     "bits 31:5 must be 0", kSection},
    {"guest-sti-and-mov-ss", F::kGuestInterruptibilityState, blocked_by<kBlockingBySti>,
     none_of<kBlockingByMovSs>, "bits 0 (STI) and 1 (MOV SS) must not both be 1", kSection},
    {"guest-sti-needs-if", F::kGuestInterruptibilityState,
     [](Context c, Field) { return (c[F::kGuestRflags] & rflags::kIf) == 0; },
     none_of<kBlockingBySti>, "bit 0 (STI) must be 0 if RFLAGS.IF is 0", kSection},
    {"guest-interrupt-blocked-by-sti", F::kGuestInterruptibilityState,
     injects<EventType::kExternalInterrupt>, none_of<kBlockingBySti>,
     "bit 0 (STI) must be 0 if an external interrupt is injected", kSection},
    {"guest-interrupt-blocked-by-mov-ss", F::kGuestInterruptibilityState,
     injects<EventType::kExternalInterrupt>, none_of<kBlockingByMovSs>,
     "bit 1 (MOV SS) must be 0 if an external interrupt is injected", kSection},
    {"guest-nmi-blocked-by-sti", F::kGuestInterruptibilityState, injects<EventType::kNmi>,
     none_of<kBlockingBySti>, "bit 0 (STI) must be 0 if an NMI is injected", kSection,
     kEntryFailureNmi},
    {"guest-nmi-blocked-by-mov-ss", F::kGuestInterruptibilityState, injects<EventType::kNmi>,
     none_of<kBlockingByMovSs>, "bit 1 (MOV SS) must be 0 if an NMI is injected", kSection},
    {"guest-smi-outside-smm", F::kGuestInterruptibilityState, outside_smm, none_of<kBlockingBySmi>,
     "bit 2 (SMI) must be 0 outside SMM", kSection},
    {"guest-smi-into-smm", F::kGuestInterruptibilityState, on<VmEntryControl::kEntryToSmm>,
     all_of<kBlockingBySmi>, "bit 2 (SMI) must be 1 if \"entry to SMM\" is 1", kSection},
    {"guest-nmi-blocked-by-nmi", F::kGuestInterruptibilityState, injects_virtual_nmi,
     none_of<kBlockingByNmi>,
     "bit 3 (NMI) must be 0 if \"virtual NMIs\" is 1 and an NMI is injected", kSection},
    {"guest-enclave-mov-ss", F::kGuestInterruptibilityState, blocked_by<kEnclaveInterruption>,
     none_of<kBlockingByMovSs>, "bit 1 (MOV SS) must be 0 if bit 4 (enclave interruption) is 1",
     kSection},
    {"guest-enclave-sgx", F::kGuestInterruptibilityState, blocked_by<kEnclaveInterruption>,
     [](Context c, Field) { return c.rules().sgx; },
     "bit 4 (enclave interruption) must be 0: the processor has no SGX", kSection},
    // Pending debug exceptions.
    {"guest-pending-debug-reserved", F::kGuestPendingDebugExceptions, always,
     none_of<kPendingReserved>, "bits 11:4, 13, 15 and 63:17 must be 0", kSection},
    {"guest-pending-debug-bs-missing", F::kGuestPendingDebugExceptions,
     [](Context c, Field f) { return bs_matters(c, f) && single_step_pending(c); },
     all_of<kSingleStep>,
     "bit 14 (BS) must be 1 with RFLAGS.TF = 1 and BTF = 0 under blocking by STI or MOV SS or in "
     "HLT",
     kSection},
    {"guest-pending-debug-bs-forbidden", F::kGuestPendingDebugExceptions,
     [](Context c, Field f) { return bs_matters(c, f) && !single_step_pending(c); },
     none_of<kSingleStep>,
     "bit 14 (BS) must be 0 with RFLAGS.TF = 0 or BTF = 1 under blocking by STI or MOV SS or in "
     "HLT",
     kSection},
    {"guest-pending-debug-rtm-bits", F::kGuestPendingDebugExceptions, rtm_pending,
     [](Context c, Field f) { return c[f] == (kRtm | kEnabledBreakpoint); },
     "with bit 16 (RTM), bit 12 must be 1 and all others 0", kSection},
    {"guest-pending-debug-rtm-support", F::kGuestPendingDebugExceptions, rtm_pending,
     [](Context c, Field) { return c.rules().rtm; },
     "bit 16 (RTM) must be 0: the processor has no RTM", kSection},
    {"guest-pending-debug-rtm-mov-ss", F::kGuestPendingDebugExceptions, rtm_pending,
     [](Context c, Field) { return (interruptibility(c) & kBlockingByMovSs) == 0; },
     "bit 16 (RTM) must be 0 under blocking by MOV SS", kSection},
    // VMCS link pointer.
    {"guest-link-alignment", F::kVmcsLinkPointer, linked, zero<11, 0>,
     "bits 11:0 must be 0; all bits are 1 without a shadow VMCS", kSection,
     kEntryFailureLinkPointer},
    {"guest-link-width", F::kVmcsLinkPointer, linked, within_width,
     "no bit beyond the physical-address width may be 1; all bits are 1 without a shadow VMCS",
     kSection, kEntryFailureLinkPointer},
    {"guest-link-revision", F::kVmcsLinkPointer, linked_in_memory, link_revision,
     "bits 30:0 at the address must be the VMCS revision identifier; all bits are 1 without a "
     "shadow VMCS",
     kSection, kEntryFailureLinkPointer},
    {"guest-link-shadow", F::kVmcsLinkPointer, linked_in_memory, link_shadow,
     "the shadow-VMCS indicator at the address must equal \"VMCS shadowing\"; all bits are 1 "
     "without a shadow VMCS",
     kSection, kEntryFailureLinkPointer},
    {"guest-link-current", F::kVmcsLinkPointer, link_to_current_forbidden,
     [](Context c, Field f) { return c[f] != c.current_vmcs->value; },
     "must not be the current-VMCS pointer", kSection, kEntryFailureLinkPointer},
    {"guest-link-executive", F::kVmcsLinkPointer, link_to_executive_forbidden,
     [](Context c, Field f) { return c[f] != c[F::kExecutiveVmcsPointer]; },
     "must not be the executive-VMCS pointer", kSection, kEntryFailureLinkPointer},
};

// --- PDPTEs.
bool pae_paging(Context c) {
  return (c[F::kGuestCr0] & cr0::kPg) != 0 && (c[F::kGuestCr4] & cr4::kPae) != 0 && !ia32e_guest(c);
}
bool pae_with_ept(Context c, Field) {
  return pae_paging(c) && c.vmcs.has(SecondaryProcBased::kEnableEpt);
}
bool pae_without_ept(Context c, Field) {
  return pae_paging(c) && !c.vmcs.has(SecondaryProcBased::kEnableEpt) && c.memory != nullptr;
}
// If present: bits 2:1, 8:5 and those beyond the physical-address width are reserved ("PAE
// Paging").
bool valid_pdpte(Context c, uint64_t pdpte) {
  return (pdpte & 1) == 0 || ((pdpte & 0x1e6) == 0 && c.rules().physical(pdpte));
}
bool pdpte_field(Context c, Field field) { return valid_pdpte(c, c[field]); }
// Bits 31:5 of CR3 locate the table.
bool pdptes_in_memory(Context c, Field field) {
  std::array<uint8_t, 32> table{};
  c.memory->read({c[field] & 0xffffffe0}, table);
  for (size_t entry = 0; entry < 4; ++entry) {
    uint64_t pdpte = 0;
    for (size_t byte = 0; byte < 8; ++byte)
      pdpte |= uint64_t{table[8 * entry + byte]} << (8 * byte);
    if (!valid_pdpte(c, pdpte)) return false;
  }
  return true;
}

constexpr std::string_view kPdpteText =
    "a present PDPTE must have bits 2:1, 8:5 and those beyond the physical-address width 0";

constexpr EntryCheck kPdpteChecks[] = {
    {"guest-pdptes-in-memory", F::kGuestCr3, pae_without_ept, pdptes_in_memory,
     "each present PDPTE at the address in bits 31:5 must have its reserved bits 0", kPdptes,
     kEntryFailurePdpte},
    {"guest-pdpte0", F::kGuestPdpte0, pae_with_ept, pdpte_field, kPdpteText, kPdptes,
     kEntryFailurePdpte},
    {"guest-pdpte1", F::kGuestPdpte1, pae_with_ept, pdpte_field, kPdpteText, kPdptes,
     kEntryFailurePdpte},
    {"guest-pdpte2", F::kGuestPdpte2, pae_with_ept, pdpte_field, kPdpteText, kPdptes,
     kEntryFailurePdpte},
    {"guest-pdpte3", F::kGuestPdpte3, pae_with_ept, pdpte_field, kPdpteText, kPdptes,
     kEntryFailurePdpte},
};

}  // namespace

CheckTable guest_non_register_state() { return table_of<kChecks>(); }
CheckTable guest_pdptes() { return table_of<kPdpteChecks>(); }

}  // namespace nestor::vmx::checks
