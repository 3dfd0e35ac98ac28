// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/guest_segment_view.h"

namespace nestor::vmx::checks {
namespace {

using F = Field;

constexpr std::string_view kSection = "Checks on Guest RIP, RFLAGS, and SSP";

bool code_64bit(Context c, Field) { return ia32e_guest(c) && rights(c, kCs).long_mode(); }
bool not_code_64bit(Context c, Field field) { return !code_64bit(c, field); }
// RIP and SSP need not be canonical: bit N-1 may differ from bit N.
bool nearly_canonical(Context c, Field field) { return c.rules().nearly_canonical(c[field]); }

bool rflags_reserved(Context c, Field field) {
  constexpr uint64_t kZero = ~uint64_t{0x3fffff} | 1u << 15 | 1u << 5 | 1u << 3;
  return (c[field] & kZero) == 0 && (c[field] & rflags::kFixed1) != 0;
}
bool vm_impossible(Context c, Field) { return ia32e_guest(c) || !protected_guest(c); }
bool injects_interrupt(Context c, Field) { return injection(c).is(EventType::kExternalInterrupt); }

constexpr EntryCheck kChecks[] = {
    {"guest-rip-high", F::kGuestRip, not_code_64bit, zero<63, 32>,
     "bits 63:32 must be 0 if \"IA-32e mode guest\" or CS.L is 0", kSection},
    {"guest-rip-linear-width", F::kGuestRip, code_64bit, nearly_canonical,
     "bits beyond the linear-address width must be identical", kSection},
    {"guest-rflags-reserved", F::kGuestRflags, always, rflags_reserved,
     "bits 63:22, 15, 5 and 3 must be 0, and bit 1 must be 1", kSection},
    {"guest-rflags-vm", F::kGuestRflags, vm_impossible, zero<17, 17>,
     "bit 17 (VM) must be 0 if \"IA-32e mode guest\" is 1 or CR0.PE is 0", kSection},
    {"guest-rflags-if", F::kGuestRflags, injects_interrupt,
     [](Context c, Field f) { return (c[f] & rflags::kIf) != 0; },
     "bit 9 (IF) must be 1 if an external interrupt is injected", kSection},
    {"guest-ssp-alignment", F::kGuestSsp, on<VmEntryControl::kLoadCetState>, zero<1, 0>,
     "bits 1:0 must be 0", kSection},
    {"guest-ssp-linear-width", F::kGuestSsp, on<VmEntryControl::kLoadCetState>, nearly_canonical,
     "bits beyond the linear-address width must be identical", kSection},
};

}  // namespace

CheckTable guest_rip_rflags() { return table_of<kChecks>(); }

}  // namespace nestor::vmx::checks
