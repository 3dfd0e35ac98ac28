// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using F = Field;
using M = Machine;
using Entry = VmEntryControl;

constexpr uint64_t kSti = 1, kMovSs = 2, kSmi = 4, kNmiBlocking = 8, kEnclave = 0x10;
constexpr uint64_t kBs = 1u << 14, kRtm = 1u << 16, kEnabled = 1u << 12;
constexpr uint64_t kHlt = 1, kShutdown = 2, kWaitForSipi = 3;

template <auto... kControls>
void with(Machine& m) {
  m.on(kControls...);
}
void with_efer(M& m) {
  m.on(Entry::kLoadEfer);
  m.set(F::kGuestIa32Efer, efer::kLma | efer::kLme);
}
void with_link(M& m) { m.link(); }
void blocked_by_sti(M& m) {
  m.block(kSti);
  m.set_bits(F::kGuestRflags, rflags::kIf);
}
void with_rtm(M& m) { m.set(F::kGuestPendingDebugExceptions, kRtm | kEnabled); }
template <uint64_t kState>
void idle(M& m) {
  m.set(F::kGuestActivityState, kState);
}
void pae_with_ept(M& m) {
  m.make_guest_32bit();
  m.enable_ept();
  for (const Field field : {F::kGuestPdpte0, F::kGuestPdpte1, F::kGuestPdpte2, F::kGuestPdpte3})
    m.set(field, 0x9001);
}

}  // namespace

std::vector<Violation> guest_violations() {
  return {
      {"guest-cr0-fixed", {}, {}, [](M& m) { m.clear_bits(F::kGuestCr0, cr0::kNe); }, {}},
      {"guest-cr0-pg-needs-pe",
       [](M& m) {
         m.make_unrestricted();
         m.make_guest_32bit();
       },
       {},
       [](M& m) { m.clear_bits(F::kGuestCr0, cr0::kPe); },
       {}},
      {"guest-cr4-fixed", {}, {}, [](M& m) { m.clear_bits(F::kGuestCr4, cr4::kVmxe); }, {}},
      {"guest-cr4-cet-needs-wp",
       [](M& m) { m.set_bits(F::kGuestCr4, cr4::kCet); },
       {},
       [](M& m) { m.clear_bits(F::kGuestCr0, cr0::kWp); },
       {}},
      {"guest-debugctl-reserved",
       with<Entry::kLoadDebugControls>,
       {{F::kGuestIa32Debugctl, 4}},
       {},
       {}},
      {"guest-cr0-pg-ia32e",
       [](M& m) { m.make_unrestricted(); },
       {},
       [](M& m) { m.clear_bits(F::kGuestCr0, cr0::kPg); },
       {}},
      {"guest-cr4-pae-ia32e", {}, {}, [](M& m) { m.clear_bits(F::kGuestCr4, cr4::kPae); }, {}},
      {"guest-cr4-pcide",
       [](M& m) { m.make_guest_32bit(); },
       {},
       [](M& m) { m.set_bits(F::kGuestCr4, cr4::kPcide); },
       {}},
      {"guest-cr3-width", {}, {{F::kGuestCr3, M::kBeyondWidth}}, {}, {}},
      {"guest-dr7-high",
       with<Entry::kLoadDebugControls>,
       {{F::kGuestDr7, uint64_t{1} << 32}},
       {},
       {}},
      {"guest-sysenter-esp-canonical", {}, {{F::kGuestIa32SysenterEsp, M::kNonCanonical}}, {}, {}},
      {"guest-sysenter-eip-canonical", {}, {{F::kGuestIa32SysenterEip, M::kNonCanonical}}, {}, {}},
      {"guest-s-cet-canonical",
       with<Entry::kLoadCetState>,
       {{F::kGuestIa32SCet, M::kNonCanonical}},
       {},
       {}},
      {"guest-interrupt-ssp-table-canonical",
       with<Entry::kLoadCetState>,
       {{F::kGuestIa32InterruptSspTableAddr, M::kNonCanonical}},
       {},
       {}},
      {"guest-perf-global-ctrl-reserved",
       with<Entry::kLoadPerfGlobalCtrl>,
       {{F::kGuestIa32PerfGlobalCtrl, 0x10}},
       {},
       {}},
      {"guest-pat",
       [](M& m) {
         m.on(Entry::kLoadPat);
         m.set(F::kGuestIa32Pat, M::kPat);
       },
       {{F::kGuestIa32Pat, M::kPat + 0x0400}},
       {},
       {}},
      {"guest-efer-reserved",
       with_efer,
       {{F::kGuestIa32Efer, efer::kLma | efer::kLme | 2}},
       {},
       {}},
      {"guest-efer-lma", with_efer, {{F::kGuestIa32Efer, 0}}, {}, {}},
      {"guest-efer-lme", with_efer, {{F::kGuestIa32Efer, efer::kLma}}, {}, {}},
      {"guest-bndcfgs-reserved", with<Entry::kLoadBndcfgs>, {{F::kGuestIa32Bndcfgs, 4}}, {}, {}},
      {"guest-bndcfgs-canonical",
       with<Entry::kLoadBndcfgs>,
       {{F::kGuestIa32Bndcfgs, M::kNonCanonical}},
       {},
       {}},
      {"guest-rtit-ctl-reserved",
       with<Entry::kLoadRtitCtl>,
       {{F::kGuestIa32RtitCtl, 0x100}},
       {},
       {}},
      {"guest-s-cet-reserved", with<Entry::kLoadCetState>, {{F::kGuestIa32SCet, 0x40}}, {}, {}},
      {"guest-s-cet-tracker", with<Entry::kLoadCetState>, {{F::kGuestIa32SCet, 0xc00}}, {}, {}},
      {"guest-lbr-ctl-reserved",
       with<Entry::kLoadGuestLbrCtl>,
       {{F::kGuestIa32LbrCtl, 0x100}},
       {},
       {}},
      {"guest-pkrs", with<Entry::kLoadPkrs>, {{F::kGuestIa32Pkrs, uint64_t{1} << 32}}, {}, {}},
      {"guest-uinv", with<Entry::kLoadUinv>, {{F::kGuestUinv, 0x100}}, {}, {}},

      {"guest-rip-high",
       [](M& m) { m.set(F::kGuestCsAccessRights, 0xc09b); },
       {{F::kGuestRip, uint64_t{1} << 32}},
       {},
       {}},
      {"guest-rip-linear-width",
       [](M& m) { m.set(F::kGuestRip, M::kNonCanonical); },
       {{F::kGuestRip, uint64_t{1} << 48}},
       {},
       {}},
      {"guest-rflags-reserved", {}, {{F::kGuestRflags, 0}}, {}, {}},
      {"guest-rflags-reserved", {}, {{F::kGuestRflags, 0x400002}}, {}, {}},
      {"guest-rflags-reserved", {}, {{F::kGuestRflags, 0x8002}}, {}, {}},
      {"guest-rflags-reserved", {}, {{F::kGuestRflags, 0x22}}, {}, {}},
      {"guest-rflags-reserved", {}, {{F::kGuestRflags, 0xa}}, {}, {}},
      {"guest-rflags-vm",
       [](M& m) {
         m.make_virtual_8086();
         m.make_unrestricted();
         m.clear_bits(F::kGuestCr0, cr0::kPg);
       },
       {},
       [](M& m) { m.clear_bits(F::kGuestCr0, cr0::kPe); },
       {}},
      {"guest-rflags-if",
       [](M& m) { m.inject_interrupt(); },
       {},
       [](M& m) { m.clear_bits(F::kGuestRflags, rflags::kIf); },
       {}},
      {"guest-ssp-alignment", with<Entry::kLoadCetState>, {{F::kGuestSsp, 1}}, {}, {}},
      {"guest-ssp-linear-width",
       [](M& m) {
         m.on(Entry::kLoadCetState);
         m.set(F::kGuestSsp, M::kNonCanonical);
       },
       {{F::kGuestSsp, uint64_t{1} << 48}},
       {},
       {}},

      {"guest-activity-supported", {}, {{F::kGuestActivityState, 4}}, {}, {}},
      {"guest-activity-supported",
       idle<kHlt>,
       {},
       [](M& m) { m.capabilities.misc &= ~vmx_misc::kHlt; },
       {}},
      {"guest-activity-supported",
       idle<kShutdown>,
       {},
       [](M& m) { m.capabilities.misc &= ~vmx_misc::kShutdown; },
       {}},
      {"guest-activity-supported",
       idle<kWaitForSipi>,
       {},
       [](M& m) { m.capabilities.misc &= ~vmx_misc::kWaitForSipi; },
       {}},
      {"guest-hlt-dpl",
       [](M& m) {
         m.set(F::kGuestCsSelector, 0xb);
         m.set(F::kGuestSsSelector, 0x13);
         m.set(F::kGuestCsAccessRights, 0xa0fb);
         m.set(F::kGuestSsAccessRights, 0xc0f3);
       },
       {{F::kGuestActivityState, kHlt}},
       {},
       {}},
      {"guest-activity-blocking", blocked_by_sti, {{F::kGuestActivityState, kHlt}}, {}, {}},
      {"guest-activity-blocking",
       [](M& m) { m.block(kMovSs); },
       {{F::kGuestActivityState, kShutdown}},
       {},
       {}},
      {"guest-hlt-injection", idle<kHlt>, {}, [](M& m) { m.inject(0x306); }, {}},
      {"guest-hlt-injection", idle<kHlt>, {}, [](M& m) { m.inject(0x480); }, {}},
      {"guest-shutdown-injection", idle<kShutdown>, {}, [](M& m) { m.inject_interrupt(); }, {}},
      {"guest-shutdown-injection", idle<kShutdown>, {}, [](M& m) { m.inject(0x301); }, {}},
      {"guest-wait-for-sipi-injection", idle<kWaitForSipi>, {}, [](M& m) { m.inject_nmi(); }, {}},
      {"guest-wait-for-sipi-smm",
       [](M& m) { m.enter_smm(); },
       {{F::kGuestActivityState, kWaitForSipi}},
       {},
       {}},
      {"guest-interruptibility-reserved", {}, {}, [](M& m) { m.block(1u << 5); }, {}},
      {"guest-sti-and-mov-ss", blocked_by_sti, {}, [](M& m) { m.block(kSti | kMovSs); }, {}},
      {"guest-sti-needs-if",
       blocked_by_sti,
       {},
       [](M& m) { m.clear_bits(F::kGuestRflags, rflags::kIf); },
       {}},
      {"guest-interrupt-blocked-by-sti",
       [](M& m) { m.inject_interrupt(); },
       {},
       [](M& m) { m.block(kSti); },
       {}},
      {"guest-interrupt-blocked-by-mov-ss",
       [](M& m) { m.inject_interrupt(); },
       {},
       [](M& m) { m.block(kMovSs); },
       {}},
      {"guest-nmi-blocked-by-sti", blocked_by_sti, {}, [](M& m) { m.inject_nmi(); }, {}},
      {"guest-nmi-blocked-by-mov-ss",
       [](M& m) { m.block(kMovSs); },
       {},
       [](M& m) { m.inject_nmi(); },
       {}},
      {"guest-smi-outside-smm", {}, {}, [](M& m) { m.block(kSmi); }, {}},
      {"guest-smi-into-smm", [](M& m) { m.enter_smm(); }, {}, [](M& m) { m.block(0); }, {}},
      {"guest-nmi-blocked-by-nmi",
       [](M& m) {
         m.inject_nmi();
         m.block(kNmiBlocking);
         m.on(PinBased::kNmiExiting);
       },
       {},
       with<PinBased::kVirtualNmis>,
       {}},
      {"guest-enclave-mov-ss",
       [](M& m) { m.block(kEnclave); },
       {},
       [](M& m) { m.block(kEnclave | kMovSs); },
       {}},
      {"guest-enclave-sgx",
       [](M& m) { m.block(kEnclave); },
       {},
       [](M& m) { m.capabilities.registers.sgx = false; },
       {}},
      {"guest-pending-debug-reserved", {}, {{F::kGuestPendingDebugExceptions, 0x10}}, {}, {}},
      {"guest-pending-debug-reserved", {}, {{F::kGuestPendingDebugExceptions, 0x800}}, {}, {}},
      {"guest-pending-debug-reserved", {}, {{F::kGuestPendingDebugExceptions, 0x2000}}, {}, {}},
      {"guest-pending-debug-reserved", {}, {{F::kGuestPendingDebugExceptions, 0x8000}}, {}, {}},
      {"guest-pending-debug-reserved", {}, {{F::kGuestPendingDebugExceptions, 0x20000}}, {}, {}},
      {"guest-pending-debug-bs-missing",
       blocked_by_sti,
       {},
       [](M& m) { m.set_bits(F::kGuestRflags, rflags::kTf); },
       {}},
      {"guest-pending-debug-bs-missing",
       idle<kHlt>,
       {},
       [](M& m) { m.set_bits(F::kGuestRflags, rflags::kTf); },
       {}},
      {"guest-pending-debug-bs-forbidden",
       [](M& m) { m.block(kMovSs); },
       {{F::kGuestPendingDebugExceptions, kBs}},
       {},
       {}},
      {"guest-pending-debug-bs-forbidden",
       [](M& m) {
         blocked_by_sti(m);
         m.set_bits(F::kGuestRflags, rflags::kTf);
         m.set(F::kGuestPendingDebugExceptions, kBs);
       },
       {{F::kGuestIa32Debugctl, 2}},
       {},
       {}},
      {"guest-pending-debug-rtm-bits", {}, {{F::kGuestPendingDebugExceptions, kRtm}}, {}, {}},
      {"guest-pending-debug-rtm-support",
       with_rtm,
       {},
       [](M& m) { m.capabilities.registers.rtm = false; },
       {}},
      {"guest-pending-debug-rtm-mov-ss", with_rtm, {}, [](M& m) { m.block(kMovSs); }, {}},

      {"guest-link-alignment",
       with_link,
       {{F::kVmcsLinkPointer, 0x3800}},
       [](M& m) { m.memory.write<uint32_t>(0x3800, m.capabilities.revision_id); },
       {}},
      {"guest-link-width",
       with_link,
       {{F::kVmcsLinkPointer, M::kBeyondWidth}},
       {},
       {"guest-link-revision", "guest-link-shadow"}},
      {"guest-link-revision", with_link, {}, [](M& m) { m.memory.write<uint8_t>(0x3000, 0); }, {}},
      {"guest-link-shadow", with_link, {}, with<SecondaryProcBased::kVmcsShadowing>, {}},
      {"guest-link-shadow",
       with_link,
       {},
       [](M& m) {
         m.memory.write<uint32_t>(0x3000, m.capabilities.revision_id | kShadowVmcsIndicator);
       },
       {}},
      {"guest-link-current",
       with_link,
       {},
       [](M& m) { m.current_vmcs = ept::PhysicalAddress{0x3000}; },
       {}},
      {"guest-link-executive",
       [](M& m) {
         m.link();
         m.in_smm = true;
       },
       {{F::kExecutiveVmcsPointer, 0x3000}},
       {},
       {}},

      {"guest-pdptes-in-memory",
       [](M& m) {
         m.make_guest_32bit();
         m.memory.write<uint64_t>(0x4000, 0x9001);
         m.memory.write<uint64_t>(0x4008, 0x1e6);  // not present
       },
       {},
       [](M& m) { m.memory.write<uint64_t>(0x4018, 0x9001 | M::kBeyondWidth); },
       {}},
      {"guest-pdpte0", pae_with_ept, {{F::kGuestPdpte0, 0x9003}}, {}, {}},
      {"guest-pdpte1", pae_with_ept, {{F::kGuestPdpte1, 0x9021}}, {}, {}},
      {"guest-pdpte2", pae_with_ept, {{F::kGuestPdpte2, 0x9101}}, {}, {}},
      {"guest-pdpte3", pae_with_ept, {{F::kGuestPdpte3, 0x9001 | M::kBeyondWidth}}, {}, {}},
  };
}

}  // namespace nestor::vmx
