// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/guest_segment_view.h"

namespace nestor::vmx::checks {
namespace {

using F = Field;

constexpr std::string_view kSection = kGuestSegments;
constexpr std::string_view kDescriptorTables = "Checks on Guest Descriptor-Table Registers";

constexpr uint8_t kLdt = 2, kBusyTss16 = 3, kBusyTss = 11;

bool tr_type(Context c, Field field) {
  const uint8_t type = c[field] & 0xf;
  return type == kBusyTss || (type == kBusyTss16 && !ia32e_guest(c));
}
bool ldtr_type(Context c, Field field) { return (c[field] & 0xf) == kLdt; }
bool s_clear(Context c, Field field) { return zero<4, 4>(c, field); }

constexpr std::string_view kSText = "bit 4 (S) must be 0";

constexpr EntryCheck kSystemChecks[] = {
    {"guest-tr-type", F::kGuestTrAccessRights, always, tr_type,
     "the type must be 11 (busy TSS), or 3 (16-bit busy TSS) if \"IA-32e mode guest\" is 0",
     kSection},
    {"guest-tr-s", F::kGuestTrAccessRights, always, s_clear, kSText, kSection},
    {"guest-tr-p", F::kGuestTrAccessRights, always, present, kPresentText, kSection},
    {"guest-tr-reserved-low", F::kGuestTrAccessRights, always, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-tr-limit-low", F::kGuestTrAccessRights, always, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-tr-limit-high", F::kGuestTrAccessRights, always, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-tr-usable", F::kGuestTrAccessRights, always, usable, "bit 16 (unusable) must be 0",
     kSection},
    {"guest-tr-reserved-high", F::kGuestTrAccessRights, always, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-ldtr-type", F::kGuestLdtrAccessRights, usable, ldtr_type, "the type must be 2 (LDT)",
     kSection},
    {"guest-ldtr-s", F::kGuestLdtrAccessRights, usable, s_clear, kSText, kSection},
    {"guest-ldtr-p", F::kGuestLdtrAccessRights, usable, present, kPresentText, kSection},
    {"guest-ldtr-reserved-low", F::kGuestLdtrAccessRights, usable, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-ldtr-limit-low", F::kGuestLdtrAccessRights, usable, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-ldtr-limit-high", F::kGuestLdtrAccessRights, usable, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-ldtr-reserved-high", F::kGuestLdtrAccessRights, usable, zero<31, 17>, kReservedHighText,
     kSection},
};

constexpr EntryCheck kTableChecks[] = {
    {"guest-gdtr-base-canonical", F::kGuestGdtrBase, always, canonical,
     "must be a canonical address", kDescriptorTables},
    {"guest-idtr-base-canonical", F::kGuestIdtrBase, always, canonical,
     "must be a canonical address", kDescriptorTables},
    {"guest-gdtr-limit", F::kGuestGdtrLimit, always, zero<31, 16>, "bits 31:16 must be 0",
     kDescriptorTables},
    {"guest-idtr-limit", F::kGuestIdtrLimit, always, zero<31, 16>, "bits 31:16 must be 0",
     kDescriptorTables},
};

}  // namespace

CheckTable guest_system_segments() { return table_of<kSystemChecks>(); }
CheckTable guest_descriptor_tables() { return table_of<kTableChecks>(); }

}  // namespace nestor::vmx::checks
