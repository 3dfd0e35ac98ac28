// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/predicates.h"

namespace nestor::vmx::checks {
namespace {

using Exit = VmExitControl;
using F = Field;

constexpr std::string_view kRegisters = "Checks on Host Control Registers, MSRs, and SSP";
constexpr std::string_view kSegments = "Checks on Host Segment and Descriptor-Table Registers";
constexpr std::string_view kSize = "Checks Related to Address-Space Size";

constexpr std::string_view kCanonical = "must be a canonical address";
constexpr std::string_view kReserved = "reserved bits must be 0";
constexpr std::string_view kSelector = "RPL (bits 1:0) and TI (bit 2) must be 0";
constexpr std::string_view kNotNull = "must not be 0000H";
constexpr std::string_view kHigh = "bits 63:32 must be 0 if \"host address-space size\" is 0";
constexpr std::string_view kHighCanonical =
    "must be a canonical address if \"host address-space size\" is 1";

constexpr auto host_64 = on<Exit::kHostAddressSpaceSize>;
constexpr auto host_32 = off<Exit::kHostAddressSpaceSize>;

bool not_null(Context c, Field field) { return c[field] != 0; }

// CD and NW are never checked: VM exits do not change them.
bool host_cr0(Context c, Field field) {
  return (c.capabilities.cr0_violations(c[field]) & ~(cr0::kCd | cr0::kNw)) == 0;
}
bool host_cr4(Context c, Field field) { return c.capabilities.cr4_violations(c[field]) == 0; }
bool host_efer_mode(Context c, Field field) {
  const bool host64 = c.vmcs.has(Exit::kHostAddressSpaceSize);
  return ((c[field] & efer::kLma) != 0) == host64 && ((c[field] & efer::kLme) != 0) == host64;
}
bool cet_host_64(Context c, Field) {
  return c.vmcs.has(Exit::kLoadCetState) && c.vmcs.has(Exit::kHostAddressSpaceSize);
}
bool cet_host_32(Context c, Field) {
  return c.vmcs.has(Exit::kLoadCetState) && !c.vmcs.has(Exit::kHostAddressSpaceSize);
}
bool outside_long_mode(Context c, Field) { return !c.long_mode; }
bool in_long_mode(Context c, Field) { return c.long_mode; }

constexpr EntryCheck kRegisterChecks[] = {
    {"host-cr0-fixed", F::kHostCr0, always, host_cr0,
     "bits must be as IA32_VMX_CR0_FIXED0 and IA32_VMX_CR0_FIXED1 fix them", kRegisters},
    {"host-cr4-fixed", F::kHostCr4, always, host_cr4,
     "bits must be as IA32_VMX_CR4_FIXED0 and IA32_VMX_CR4_FIXED1 fix them", kRegisters},
    {"host-cr4-cet-needs-wp", F::kHostCr4,
     [](Context c, Field f) { return (c[f] & cr4::kCet) != 0; },
     [](Context c, Field) { return (c[F::kHostCr0] & cr0::kWp) != 0; },
     "bit 23 (CET) may be 1 only if CR0.WP is 1", kRegisters},
    {"host-cr3-width", F::kHostCr3, always,
     [](Context c, Field f) { return c.rules().physical(c[f]); },
     "bits 63:52 and bits beyond the physical-address width must be 0", kRegisters},
    {"host-sysenter-esp-canonical", F::kHostIa32SysenterEsp, always, canonical, kCanonical,
     kRegisters},
    {"host-sysenter-eip-canonical", F::kHostIa32SysenterEip, always, canonical, kCanonical,
     kRegisters},
    {"host-perf-global-ctrl-reserved", F::kHostIa32PerfGlobalCtrl, on<Exit::kLoadPerfGlobalCtrl>,
     only_writable<&RegisterRules::perf_global_ctrl_writable>, kReserved, kRegisters},
    {"host-pat", F::kHostIa32Pat, on<Exit::kLoadPat>, valid_pat,
     "each byte must be 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-)", kRegisters},
    {"host-efer-reserved", F::kHostIa32Efer, on<Exit::kLoadEfer>,
     only_writable<&RegisterRules::efer_writable>, kReserved, kRegisters},
    {"host-efer-mode", F::kHostIa32Efer, on<Exit::kLoadEfer>, host_efer_mode,
     "LMA and LME must each equal \"host address-space size\"", kRegisters},
    {"host-s-cet-reserved", F::kHostIa32SCet, on<Exit::kLoadCetState>,
     only_writable<&RegisterRules::s_cet_writable>, kReserved, kRegisters},
    {"host-s-cet-tracker", F::kHostIa32SCet, on<Exit::kLoadCetState>, valid_s_cet_tracker,
     "SUPPRESS (bit 10) and TRACKER (bit 11) must not both be 1", kRegisters},
    {"host-ssp-alignment", F::kHostSsp, on<Exit::kLoadCetState>, zero<1, 0>, "bits 1:0 must be 0",
     kRegisters},
    {"host-pkrs", F::kHostIa32Pkrs, on<Exit::kLoadPkrs>, zero<63, 32>, "bits 63:32 must be 0",
     kRegisters},
};

constexpr EntryCheck kSegmentChecks[] = {
    {"host-cs-selector", F::kHostCsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-ss-selector", F::kHostSsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-ds-selector", F::kHostDsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-es-selector", F::kHostEsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-fs-selector", F::kHostFsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-gs-selector", F::kHostGsSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-tr-selector", F::kHostTrSelector, always, zero<2, 0>, kSelector, kSegments},
    {"host-cs-null", F::kHostCsSelector, always, not_null, kNotNull, kSegments},
    {"host-tr-null", F::kHostTrSelector, always, not_null, kNotNull, kSegments},
    {"host-ss-null", F::kHostSsSelector, host_32, not_null,
     "must not be 0000H if \"host address-space size\" is 0", kSegments},
    {"host-fs-base-canonical", F::kHostFsBase, always, canonical, kCanonical, kSegments},
    {"host-gs-base-canonical", F::kHostGsBase, always, canonical, kCanonical, kSegments},
    {"host-gdtr-base-canonical", F::kHostGdtrBase, always, canonical, kCanonical, kSegments},
    {"host-idtr-base-canonical", F::kHostIdtrBase, always, canonical, kCanonical, kSegments},
    {"host-tr-base-canonical", F::kHostTrBase, always, canonical, kCanonical, kSegments},
};

constexpr EntryCheck kSizeChecks[] = {
    {"ia32e-guest-needs-long-mode", F::kVmEntryControls, outside_long_mode,
     off<VmEntryControl::kIa32eModeGuest>,
     "\"IA-32e mode guest\" must be 0 if the VM entry is made outside IA-32e mode", kSize},
    {"host-size-needs-long-mode", F::kVmExitControls, outside_long_mode, host_32,
     "\"host address-space size\" must be 0 if the VM entry is made outside IA-32e mode", kSize},
    {"host-size-in-long-mode", F::kVmExitControls, in_long_mode, host_64,
     "\"host address-space size\" must be 1 if the VM entry is made in IA-32e mode", kSize},
    {"ia32e-guest-needs-host-size", F::kVmEntryControls, host_32,
     off<VmEntryControl::kIa32eModeGuest>,
     "\"IA-32e mode guest\" must be 0 if \"host address-space size\" is 0", kSize},
    {"host-cr4-pcide", F::kHostCr4, host_32, zero<17, 17>,
     "bit 17 (PCIDE) must be 0 if \"host address-space size\" is 0", kSize},
    {"host-rip-high", F::kHostRip, host_32, zero<63, 32>, kHigh, kSize},
    {"host-s-cet-high", F::kHostIa32SCet, cet_host_32, zero<63, 32>, kHigh, kSize},
    {"host-ssp-high", F::kHostSsp, cet_host_32, zero<63, 32>, kHigh, kSize},
    {"host-cr4-pae", F::kHostCr4, host_64,
     [](Context c, Field f) { return (c[f] & cr4::kPae) != 0; },
     "bit 5 (PAE) must be 1 if \"host address-space size\" is 1", kSize},
    {"host-rip-canonical", F::kHostRip, host_64, canonical, kHighCanonical, kSize},
    {"host-s-cet-canonical", F::kHostIa32SCet, cet_host_64, canonical, kHighCanonical, kSize},
    {"host-ssp-canonical", F::kHostSsp, cet_host_64, canonical, kHighCanonical, kSize},
    {"host-interrupt-ssp-table-canonical", F::kHostIa32InterruptSspTableAddr,
     on<Exit::kLoadCetState>, canonical, kCanonical, kSize},
};

}  // namespace

CheckTable host_registers() { return table_of<kRegisterChecks>(); }
CheckTable host_segments() { return table_of<kSegmentChecks>(); }
CheckTable address_space_size() { return table_of<kSizeChecks>(); }

}  // namespace nestor::vmx::checks
