// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/guest_segment_view.h"

namespace nestor::vmx::checks {
namespace {

using F = Field;

constexpr std::string_view kSection = kGuestSegments;
constexpr uint8_t kAccessedData = 3;  // read/write, accessed, expand-up

bool not_v86(Context c, Field) { return !virtual_8086_guest(c); }
// Outside virtual-8086 mode, the access rights of CS always matter, the others' if usable.
bool matters(Context c, Field field) {
  return not_v86(c, field) && (segment_of(field) == kCs || usable(c, field));
}

// --- Selectors and bases.
bool rpl_matters(Context c, Field field) { return not_v86(c, field) && !unrestricted(c); }
bool rpl_is_that_of_cs(Context c, Field field) {
  return ((c[field] ^ c[F::kGuestCsSelector]) & 3) == 0;
}
bool ti_clear(Context c, Field field) { return zero<2, 2>(c, field); }
bool base_of_selector(Context c, Field field) {
  return c[field] == selector(c, segment_of(field)) << 4;
}
bool limit_64k(Context c, Field field) { return c[field] == 0xffff; }
bool rights_v86(Context c, Field field) { return c[field] == 0xf3; }

// --- Access rights.
bool cs_type(Context c, Field field) {
  const uint8_t type = c[field] & 0xf;
  return (type & 9) == 9 || (unrestricted(c) && type == kAccessedData);
}
bool ss_type(Context c, Field field) {
  const uint8_t type = c[field] & 0xf;
  return type == 3 || type == 7;
}
bool accessed(Context c, Field field) { return (c[field] & 1) != 0; }
bool code_readable(Context c, Field field) { return (c[field] & 8) == 0 || (c[field] & 2) != 0; }
bool s_set(Context c, Field field) { return (c[field] & 0x10) != 0; }

bool cs_is_data(Context c, Field field) {
  return not_v86(c, field) && rights(c, kCs).type() == kAccessedData;
}
bool cs_nonconforming(Context c, Field field) {
  return not_v86(c, field) && (rights(c, kCs).type() & 0xd) == 9;
}
bool cs_conforming(Context c, Field field) {
  return not_v86(c, field) && (rights(c, kCs).type() & 0xd) == 0xd;
}
bool dpl_zero(Context c, Field field) { return rights(c, segment_of(field)).dpl() == 0; }
bool ss_dpl_must_be_zero(Context c, Field field) {
  return not_v86(c, field) && (rights(c, kCs).type() == kAccessedData || !protected_guest(c));
}
bool dpl_matters(Context c, Field field) {
  return matters(c, field) && !unrestricted(c) && rights(c, segment_of(field)).type() <= 11;
}
bool dpl_not_below_rpl(Context c, Field field) {
  const uint8_t segment = segment_of(field);
  return rights(c, segment).dpl() >= (selector(c, segment) & 3);
}
bool cs_long(Context c, Field field) {
  return not_v86(c, field) && ia32e_guest(c) && rights(c, kCs).long_mode();
}

constexpr std::string_view kBaseText =
    "must be the selector shifted left 4 bits in virtual-8086 mode";
constexpr std::string_view kLimitText = "must be 0000FFFFH in virtual-8086 mode";
constexpr std::string_view kRightsText = "must be 000000F3H in virtual-8086 mode";
constexpr std::string_view kCanonicalText = "must be a canonical address";
constexpr std::string_view kHighText = "bits 63:32 must be 0";
constexpr std::string_view kAccessedText = "bit 0 of the type must be 1 (accessed)";
constexpr std::string_view kReadableText = "a code segment must be readable (bit 1 of the type)";
constexpr std::string_view kSText = "bit 4 (S) must be 1";
constexpr std::string_view kDplText = "the DPL must not be less than the selector's RPL";

constexpr EntryCheck kChecks[] = {
    // Selector fields.
    {"guest-tr-ti", F::kGuestTrSelector, always, ti_clear, "TI (bit 2) must be 0", kSection},
    {"guest-ldtr-ti", F::kGuestLdtrSelector, usable, ti_clear,
     "TI (bit 2) must be 0 if LDTR is usable", kSection},
    {"guest-ss-rpl", F::kGuestSsSelector, rpl_matters, rpl_is_that_of_cs,
     "the RPL must equal that of CS", kSection},
    // Base-address fields.
    {"guest-cs-base-v86", F::kGuestCsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-ss-base-v86", F::kGuestSsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-ds-base-v86", F::kGuestDsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-es-base-v86", F::kGuestEsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-fs-base-v86", F::kGuestFsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-gs-base-v86", F::kGuestGsBase, v86, base_of_selector, kBaseText, kSection},
    {"guest-tr-base-canonical", F::kGuestTrBase, always, canonical, kCanonicalText, kSection},
    {"guest-fs-base-canonical", F::kGuestFsBase, always, canonical, kCanonicalText, kSection},
    {"guest-gs-base-canonical", F::kGuestGsBase, always, canonical, kCanonicalText, kSection},
    {"guest-ldtr-base-canonical", F::kGuestLdtrBase, usable, canonical, kCanonicalText, kSection},
    {"guest-cs-base-high", F::kGuestCsBase, always, zero<63, 32>, kHighText, kSection},
    {"guest-ss-base-high", F::kGuestSsBase, usable, zero<63, 32>, kHighText, kSection},
    {"guest-ds-base-high", F::kGuestDsBase, usable, zero<63, 32>, kHighText, kSection},
    {"guest-es-base-high", F::kGuestEsBase, usable, zero<63, 32>, kHighText, kSection},
    // Limit fields.
    {"guest-cs-limit-v86", F::kGuestCsLimit, v86, limit_64k, kLimitText, kSection},
    {"guest-ss-limit-v86", F::kGuestSsLimit, v86, limit_64k, kLimitText, kSection},
    {"guest-ds-limit-v86", F::kGuestDsLimit, v86, limit_64k, kLimitText, kSection},
    {"guest-es-limit-v86", F::kGuestEsLimit, v86, limit_64k, kLimitText, kSection},
    {"guest-fs-limit-v86", F::kGuestFsLimit, v86, limit_64k, kLimitText, kSection},
    {"guest-gs-limit-v86", F::kGuestGsLimit, v86, limit_64k, kLimitText, kSection},
    // Access-rights fields, virtual-8086 mode.
    {"guest-cs-rights-v86", F::kGuestCsAccessRights, v86, rights_v86, kRightsText, kSection},
    {"guest-ss-rights-v86", F::kGuestSsAccessRights, v86, rights_v86, kRightsText, kSection},
    {"guest-ds-rights-v86", F::kGuestDsAccessRights, v86, rights_v86, kRightsText, kSection},
    {"guest-es-rights-v86", F::kGuestEsAccessRights, v86, rights_v86, kRightsText, kSection},
    {"guest-fs-rights-v86", F::kGuestFsAccessRights, v86, rights_v86, kRightsText, kSection},
    {"guest-gs-rights-v86", F::kGuestGsAccessRights, v86, rights_v86, kRightsText, kSection},
    // Type.
    {"guest-cs-type", F::kGuestCsAccessRights, not_v86, cs_type,
     "the type must be 9, 11, 13 or 15, or 3 if \"unrestricted guest\" is 1", kSection},
    {"guest-ss-type", F::kGuestSsAccessRights, matters, ss_type, "the type must be 3 or 7",
     kSection},
    {"guest-ds-accessed", F::kGuestDsAccessRights, matters, accessed, kAccessedText, kSection},
    {"guest-es-accessed", F::kGuestEsAccessRights, matters, accessed, kAccessedText, kSection},
    {"guest-fs-accessed", F::kGuestFsAccessRights, matters, accessed, kAccessedText, kSection},
    {"guest-gs-accessed", F::kGuestGsAccessRights, matters, accessed, kAccessedText, kSection},
    {"guest-ds-readable", F::kGuestDsAccessRights, matters, code_readable, kReadableText, kSection},
    {"guest-es-readable", F::kGuestEsAccessRights, matters, code_readable, kReadableText, kSection},
    {"guest-fs-readable", F::kGuestFsAccessRights, matters, code_readable, kReadableText, kSection},
    {"guest-gs-readable", F::kGuestGsAccessRights, matters, code_readable, kReadableText, kSection},
    // S.
    {"guest-cs-s", F::kGuestCsAccessRights, matters, s_set, kSText, kSection},
    {"guest-ss-s", F::kGuestSsAccessRights, matters, s_set, kSText, kSection},
    {"guest-ds-s", F::kGuestDsAccessRights, matters, s_set, kSText, kSection},
    {"guest-es-s", F::kGuestEsAccessRights, matters, s_set, kSText, kSection},
    {"guest-fs-s", F::kGuestFsAccessRights, matters, s_set, kSText, kSection},
    {"guest-gs-s", F::kGuestGsAccessRights, matters, s_set, kSText, kSection},
    // DPL.
    {"guest-cs-dpl-data", F::kGuestCsAccessRights, cs_is_data, dpl_zero,
     "the DPL must be 0 if the type is 3", kSection},
    {"guest-cs-dpl-nonconforming", F::kGuestCsAccessRights, cs_nonconforming,
     [](Context c, Field) { return rights(c, kCs).dpl() == rights(c, kSs).dpl(); },
     "the DPL of a non-conforming code segment must equal that of SS", kSection},
    {"guest-cs-dpl-conforming", F::kGuestCsAccessRights, cs_conforming,
     [](Context c, Field) { return rights(c, kCs).dpl() <= rights(c, kSs).dpl(); },
     "the DPL of a conforming code segment must not exceed that of SS", kSection},
    {"guest-ss-dpl", F::kGuestSsAccessRights, rpl_matters,
     [](Context c, Field) { return rights(c, kSs).dpl() == (selector(c, kSs) & 3); },
     "the DPL must equal the selector's RPL", kSection},
    {"guest-ss-dpl-zero", F::kGuestSsAccessRights, ss_dpl_must_be_zero, dpl_zero,
     "the DPL must be 0 if the type of CS is 3 or CR0.PE is 0", kSection},
    {"guest-ds-dpl", F::kGuestDsAccessRights, dpl_matters, dpl_not_below_rpl, kDplText, kSection},
    {"guest-es-dpl", F::kGuestEsAccessRights, dpl_matters, dpl_not_below_rpl, kDplText, kSection},
    {"guest-fs-dpl", F::kGuestFsAccessRights, dpl_matters, dpl_not_below_rpl, kDplText, kSection},
    {"guest-gs-dpl", F::kGuestGsAccessRights, dpl_matters, dpl_not_below_rpl, kDplText, kSection},
    // P.
    {"guest-cs-p", F::kGuestCsAccessRights, matters, present, kPresentText, kSection},
    {"guest-ss-p", F::kGuestSsAccessRights, matters, present, kPresentText, kSection},
    {"guest-ds-p", F::kGuestDsAccessRights, matters, present, kPresentText, kSection},
    {"guest-es-p", F::kGuestEsAccessRights, matters, present, kPresentText, kSection},
    {"guest-fs-p", F::kGuestFsAccessRights, matters, present, kPresentText, kSection},
    {"guest-gs-p", F::kGuestGsAccessRights, matters, present, kPresentText, kSection},
    // Bits 11:8.
    {"guest-cs-reserved-low", F::kGuestCsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-ss-reserved-low", F::kGuestSsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-ds-reserved-low", F::kGuestDsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-es-reserved-low", F::kGuestEsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-fs-reserved-low", F::kGuestFsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    {"guest-gs-reserved-low", F::kGuestGsAccessRights, matters, zero<11, 8>, kReservedLowText,
     kSection},
    // D/B.
    {"guest-cs-db", F::kGuestCsAccessRights, cs_long, zero<14, 14>,
     "bit 14 (D/B) must be 0 if bit 13 (L) and \"IA-32e mode guest\" are 1", kSection},
    // G.
    {"guest-cs-limit-low", F::kGuestCsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-ss-limit-low", F::kGuestSsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-ds-limit-low", F::kGuestDsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-es-limit-low", F::kGuestEsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-fs-limit-low", F::kGuestFsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-gs-limit-low", F::kGuestGsAccessRights, matters, limit_low_fits, kLimitLowText,
     kSection},
    {"guest-cs-limit-high", F::kGuestCsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-ss-limit-high", F::kGuestSsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-ds-limit-high", F::kGuestDsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-es-limit-high", F::kGuestEsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-fs-limit-high", F::kGuestFsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    {"guest-gs-limit-high", F::kGuestGsAccessRights, matters, limit_high_fits, kLimitHighText,
     kSection},
    // Bits 31:17.
    {"guest-cs-reserved-high", F::kGuestCsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-ss-reserved-high", F::kGuestSsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-ds-reserved-high", F::kGuestDsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-es-reserved-high", F::kGuestEsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-fs-reserved-high", F::kGuestFsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
    {"guest-gs-reserved-high", F::kGuestGsAccessRights, matters, zero<31, 17>, kReservedHighText,
     kSection},
};

}  // namespace

CheckTable guest_segments() { return table_of<kChecks>(); }

}  // namespace nestor::vmx::checks
