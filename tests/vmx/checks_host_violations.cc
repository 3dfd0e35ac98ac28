// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using F = Field;
using M = Machine;
using Exit = VmExitControl;
using Entry = VmEntryControl;

template <auto... kControls>
void with(Machine& m) {
  m.on(kControls...);
}
template <auto... kControls>
void host_32bit_with(Machine& m) {
  m.make_host_32bit();
  m.on(kControls...);
}
void host_32bit(Machine& m) { m.make_host_32bit(); }

}  // namespace

std::vector<Violation> host_violations() {
  std::vector<Violation> all = {
      {"host-cr0-fixed", {}, {}, [](M& m) { m.clear_bits(F::kHostCr0, cr0::kNe); }, {}},
      {"host-cr4-fixed", {}, {}, [](M& m) { m.clear_bits(F::kHostCr4, cr4::kVmxe); }, {}},
      {"host-cr4-cet-needs-wp",
       [](M& m) { m.set_bits(F::kHostCr4, cr4::kCet); },
       {},
       [](M& m) { m.clear_bits(F::kHostCr0, cr0::kWp); },
       {}},
      {"host-cr3-width", {}, {{F::kHostCr3, M::kBeyondWidth}}, {}, {}},
      {"host-sysenter-esp-canonical", {}, {{F::kHostIa32SysenterEsp, M::kNonCanonical}}, {}, {}},
      {"host-sysenter-eip-canonical", {}, {{F::kHostIa32SysenterEip, M::kNonCanonical}}, {}, {}},
      {"host-perf-global-ctrl-reserved",
       with<Exit::kLoadPerfGlobalCtrl>,
       {{F::kHostIa32PerfGlobalCtrl, 0x10}},
       {},
       {}},
      {"host-pat",
       [](M& m) {
         m.on(Exit::kLoadPat);
         m.set(F::kHostIa32Pat, M::kPat);
       },
       {{F::kHostIa32Pat, M::kPat | uint64_t{2} << 56}},
       {},
       {}},
      {"host-efer-reserved",
       [](M& m) {
         m.on(Exit::kLoadEfer);
         m.set(F::kHostIa32Efer, efer::kLma | efer::kLme);
       },
       {{F::kHostIa32Efer, efer::kLma | efer::kLme | 2}},
       {},
       {}},
      {"host-efer-mode",
       [](M& m) {
         m.on(Exit::kLoadEfer);
         m.set(F::kHostIa32Efer, efer::kLma | efer::kLme);
       },
       {{F::kHostIa32Efer, efer::kLme}},
       {},
       {}},
      {"host-s-cet-reserved", with<Exit::kLoadCetState>, {{F::kHostIa32SCet, 0x40}}, {}, {}},
      {"host-s-cet-tracker", with<Exit::kLoadCetState>, {{F::kHostIa32SCet, 0xc00}}, {}, {}},
      {"host-ssp-alignment", with<Exit::kLoadCetState>, {{F::kHostSsp, 2}}, {}, {}},
      {"host-pkrs", with<Exit::kLoadPkrs>, {{F::kHostIa32Pkrs, uint64_t{1} << 32}}, {}, {}},

      {"host-cs-null", {}, {{F::kHostCsSelector, 0}}, {}, {}},
      {"host-tr-null", {}, {{F::kHostTrSelector, 0}}, {}, {}},
      {"host-ss-null", host_32bit, {{F::kHostSsSelector, 0}}, {}, {}},

      {"ia32e-guest-needs-long-mode",
       host_32bit,
       {},
       with<Entry::kIa32eModeGuest>,
       {"ia32e-guest-needs-host-size"}},
      {"host-size-needs-long-mode", host_32bit, {}, with<Exit::kHostAddressSpaceSize>, {}},
      {"host-size-in-long-mode",
       [](M& m) { m.make_guest_32bit(); },
       {},
       [](M& m) { m.off(Exit::kHostAddressSpaceSize); },
       {}},
      {"ia32e-guest-needs-host-size",
       {},
       {},
       [](M& m) { m.off(Exit::kHostAddressSpaceSize); },
       {"host-size-in-long-mode"}},
      {"host-cr4-pcide", host_32bit, {}, [](M& m) { m.set_bits(F::kHostCr4, cr4::kPcide); }, {}},
      {"host-rip-high", host_32bit, {{F::kHostRip, uint64_t{1} << 32}}, {}, {}},
      {"host-s-cet-high",
       host_32bit_with<Exit::kLoadCetState>,
       {{F::kHostIa32SCet, uint64_t{1} << 32}},
       {},
       {}},
      {"host-ssp-high",
       host_32bit_with<Exit::kLoadCetState>,
       {{F::kHostSsp, uint64_t{1} << 32}},
       {},
       {}},
      {"host-cr4-pae", {}, {}, [](M& m) { m.clear_bits(F::kHostCr4, cr4::kPae); }, {}},
      {"host-rip-canonical", {}, {{F::kHostRip, M::kNonCanonical}}, {}, {}},
      {"host-s-cet-canonical",
       with<Exit::kLoadCetState>,
       {{F::kHostIa32SCet, M::kNonCanonical}},
       {},
       {}},
      {"host-ssp-canonical", with<Exit::kLoadCetState>, {{F::kHostSsp, M::kNonCanonical}}, {}, {}},
      {"host-interrupt-ssp-table-canonical",
       with<Exit::kLoadCetState>,
       {{F::kHostIa32InterruptSspTableAddr, M::kNonCanonical}},
       {},
       {}},
  };
  struct Register {
    std::string name;
    Field field;
  };
  for (const auto& [name, field] :
       {Register{"cs", F::kHostCsSelector}, Register{"ss", F::kHostSsSelector},
        Register{"ds", F::kHostDsSelector}, Register{"es", F::kHostEsSelector},
        Register{"fs", F::kHostFsSelector}, Register{"gs", F::kHostGsSelector},
        Register{"tr", F::kHostTrSelector}})
    for (const uint64_t bit : {1, 2, 4})
      all.push_back({"host-" + name + "-selector", {}, {{field, 0x28 | bit}}, {}, {}});
  for (const auto& [name, field] :
       {Register{"fs", F::kHostFsBase}, Register{"gs", F::kHostGsBase},
        Register{"gdtr", F::kHostGdtrBase}, Register{"idtr", F::kHostIdtrBase},
        Register{"tr", F::kHostTrBase}})
    all.push_back({"host-" + name + "-base-canonical", {}, {{field, M::kNonCanonical}}, {}, {}});
  return all;
}

}  // namespace nestor::vmx
