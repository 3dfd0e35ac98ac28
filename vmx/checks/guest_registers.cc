// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/predicates.h"

namespace nestor::vmx::checks {
namespace {

using Entry = VmEntryControl;
using F = Field;

constexpr std::string_view kSection =
    "Checks on Guest Control Registers, Debug Registers, and MSRs";

constexpr std::string_view kCanonical = "must be a canonical address";
constexpr std::string_view kReserved = "reserved bits must be 0";
constexpr std::string_view kHigh = "bits 63:32 must be 0";

// CD and NW are never checked: VM entries do not change them.
bool guest_cr0(Context c, Field field) {
  const uint64_t exempt = cr0::kCd | cr0::kNw | (unrestricted(c) ? cr0::kPe | cr0::kPg : 0);
  return (c.capabilities.cr0_violations(c[field]) & ~exempt) == 0;
}
bool guest_cr4(Context c, Field field) { return c.capabilities.cr4_violations(c[field]) == 0; }
template <uint64_t kBits>
bool has_bits(Context c, Field field) {
  return (c[field] & kBits) == kBits;
}
bool paging(Context c, Field) { return (c[F::kGuestCr0] & cr0::kPg) != 0; }

bool efer_lma(Context c, Field field) { return ((c[field] & efer::kLma) != 0) == ia32e_guest(c); }
bool efer_lme(Context c, Field field) {
  return ((c[field] & efer::kLma) != 0) == ((c[field] & efer::kLme) != 0);
}
bool efer_paging(Context c, Field field) {
  return on<Entry::kLoadEfer>(c, field) && paging(c, field);
}
// Bits 63:12 hold the linear address of the bound directory.
bool bndcfgs_canonical(Context c, Field field) {
  return c.rules().canonical(c[field] & ~uint64_t{0xfff});
}

constexpr EntryCheck kChecks[] = {
    {"guest-cr0-fixed", F::kGuestCr0, always, guest_cr0,
     "bits must be as IA32_VMX_CR0_FIXED0 and IA32_VMX_CR0_FIXED1 fix them", kSection},
    {"guest-cr0-pg-needs-pe", F::kGuestCr0, paging, has_bits<cr0::kPe>,
     "bit 31 (PG) may be 1 only if bit 0 (PE) is 1", kSection},
    {"guest-cr4-fixed", F::kGuestCr4, always, guest_cr4,
     "bits must be as IA32_VMX_CR4_FIXED0 and IA32_VMX_CR4_FIXED1 fix them", kSection},
    {"guest-cr4-cet-needs-wp", F::kGuestCr4, has_bits<cr4::kCet>,
     [](Context c, Field) { return (c[F::kGuestCr0] & cr0::kWp) != 0; },
     "bit 23 (CET) may be 1 only if CR0.WP is 1", kSection},
    {"guest-debugctl-reserved", F::kGuestIa32Debugctl, on<Entry::kLoadDebugControls>,
     only_writable<&RegisterRules::debugctl_writable>, kReserved, kSection},
    {"guest-cr0-pg-ia32e", F::kGuestCr0, on<Entry::kIa32eModeGuest>, has_bits<cr0::kPg>,
     "bit 31 (PG) must be 1 if \"IA-32e mode guest\" is 1", kSection},
    {"guest-cr4-pae-ia32e", F::kGuestCr4, on<Entry::kIa32eModeGuest>, has_bits<cr4::kPae>,
     "bit 5 (PAE) must be 1 if \"IA-32e mode guest\" is 1", kSection},
    {"guest-cr4-pcide", F::kGuestCr4, off<Entry::kIa32eModeGuest>, zero<17, 17>,
     "bit 17 (PCIDE) must be 0 if \"IA-32e mode guest\" is 0", kSection},
    {"guest-cr3-width", F::kGuestCr3, always,
     [](Context c, Field f) { return c.rules().physical(c[f]); },
     "bits 63:52 and bits beyond the physical-address width must be 0", kSection},
    {"guest-dr7-high", F::kGuestDr7, on<Entry::kLoadDebugControls>, zero<63, 32>, kHigh, kSection},
    {"guest-sysenter-esp-canonical", F::kGuestIa32SysenterEsp, always, canonical, kCanonical,
     kSection},
    {"guest-sysenter-eip-canonical", F::kGuestIa32SysenterEip, always, canonical, kCanonical,
     kSection},
    {"guest-s-cet-canonical", F::kGuestIa32SCet, on<Entry::kLoadCetState>, canonical, kCanonical,
     kSection},
    {"guest-interrupt-ssp-table-canonical", F::kGuestIa32InterruptSspTableAddr,
     on<Entry::kLoadCetState>, canonical, kCanonical, kSection},
    {"guest-perf-global-ctrl-reserved", F::kGuestIa32PerfGlobalCtrl, on<Entry::kLoadPerfGlobalCtrl>,
     only_writable<&RegisterRules::perf_global_ctrl_writable>, kReserved, kSection},
    {"guest-pat", F::kGuestIa32Pat, on<Entry::kLoadPat>, valid_pat,
     "each byte must be 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-)", kSection},
    {"guest-efer-reserved", F::kGuestIa32Efer, on<Entry::kLoadEfer>,
     only_writable<&RegisterRules::efer_writable>, kReserved, kSection},
    {"guest-efer-lma", F::kGuestIa32Efer, on<Entry::kLoadEfer>, efer_lma,
     "bit 10 (LMA) must equal \"IA-32e mode guest\"", kSection},
    {"guest-efer-lme", F::kGuestIa32Efer, efer_paging, efer_lme,
     "bit 8 (LME) must equal bit 10 (LMA) if CR0.PG is 1", kSection},
    {"guest-bndcfgs-reserved", F::kGuestIa32Bndcfgs, on<Entry::kLoadBndcfgs>,
     only_writable<&RegisterRules::bndcfgs_writable>, kReserved, kSection},
    {"guest-bndcfgs-canonical", F::kGuestIa32Bndcfgs, on<Entry::kLoadBndcfgs>, bndcfgs_canonical,
     "the linear address in bits 63:12 must be canonical", kSection},
    {"guest-rtit-ctl-reserved", F::kGuestIa32RtitCtl, on<Entry::kLoadRtitCtl>,
     only_writable<&RegisterRules::rtit_ctl_writable>, kReserved, kSection},
    {"guest-s-cet-reserved", F::kGuestIa32SCet, on<Entry::kLoadCetState>,
     only_writable<&RegisterRules::s_cet_writable>, kReserved, kSection},
    {"guest-s-cet-tracker", F::kGuestIa32SCet, on<Entry::kLoadCetState>, valid_s_cet_tracker,
     "SUPPRESS (bit 10) and TRACKER (bit 11) must not both be 1", kSection},
    {"guest-lbr-ctl-reserved", F::kGuestIa32LbrCtl, on<Entry::kLoadGuestLbrCtl>,
     only_writable<&RegisterRules::lbr_ctl_writable>, kReserved, kSection},
    {"guest-pkrs", F::kGuestIa32Pkrs, on<Entry::kLoadPkrs>, zero<63, 32>, kHigh, kSection},
    {"guest-uinv", F::kGuestUinv, on<Entry::kLoadUinv>, zero<15, 8>, "bits 15:8 must be 0",
     kSection},
};

}  // namespace

CheckTable guest_registers() { return table_of<kChecks>(); }

}  // namespace nestor::vmx::checks
