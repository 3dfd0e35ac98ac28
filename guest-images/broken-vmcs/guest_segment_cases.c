// SPDX-License-Identifier: GPL-2.0-or-later
//
// Segment and descriptor-table registers that no guest could have.
// Source: Intel SDM, "Checks on Guest Segment Registers" and "Checks on Guest Descriptor-Table
// Registers". The valid guest is in 64-bit mode at CPL 0, without "unrestricted guest".
#include "guest-images/broken-vmcs/cases.h"

#define CASE(case_name, rule, ...)                                                                \
  {                                                                                               \
    .name = case_name, .why = rule, .expected = BAD_GUEST_STATE(kQualificationNone), .changes = { \
      __VA_ARGS__                                                                                 \
    }                                                                                             \
  }

enum { kRightsLdt = 0x82 };

static const EntryCase kSegmentCases[] = {
    CASE("tr-ti", "the TI flag of TR must be 0", SET(kGuestTrSelector, 4)),
    CASE("ldtr-ti", "the TI flag of a usable LDTR must be 0",
         VALUE(kGuestLdtrAccessRights, kRightsLdt), SET(kGuestLdtrSelector, 4)),
    CASE("ss-rpl", "the RPLs of SS and CS must be equal", SET(kGuestSsSelector, 3)),
    CASE("cs-base", "bits 63:32 of the base of CS must be 0", SET(kGuestCsBase, 1ull << 32)),
    CASE("es-base", "bits 63:32 of the base of a usable ES must be 0",
         SET(kGuestEsBase, 1ull << 32)),
    CASE("fs-base", "the base of FS must be canonical", VALUE(kGuestFsBase, NON_CANONICAL)),
    CASE("tr-base", "the base of TR must be canonical", VALUE(kGuestTrBase, NON_CANONICAL)),
    CASE("ldtr-base", "the base of a usable LDTR must be canonical",
         VALUE(kGuestLdtrAccessRights, kRightsLdt), VALUE(kGuestLdtrBase, NON_CANONICAL)),
    CASE("cs-type-data", "CS must be a code segment", VALUE(kGuestCsAccessRights, 0xa093)),
    CASE("cs-type-not-accessed", "CS must be accessed", VALUE(kGuestCsAccessRights, 0xa09a)),
    CASE("cs-system", "S must be 1 for CS", CLEAR(kGuestCsAccessRights, 1 << 4)),
    CASE("cs-not-present", "P must be 1 for CS", CLEAR(kGuestCsAccessRights, 1 << 7)),
    CASE("cs-dpl", "the DPL of a non-conforming CS must equal that of SS",
         SET(kGuestCsAccessRights, 3 << 5)),
    CASE("cs-reserved-bit", "bits 11:8 of the access rights of CS must be 0",
         SET(kGuestCsAccessRights, 1 << 8)),
    CASE("cs-l-and-d", "D must be 0 if L is 1 in IA-32e mode", SET(kGuestCsAccessRights, 1 << 14)),
    CASE("cs-granularity-low", "G must be 0 if any of bits 11:0 of the limit is 0",
         CLEAR(kGuestCsLimit, 0xfff)),
    CASE("cs-granularity-high", "G must be 1 if any of bits 31:20 of the limit is 1",
         CLEAR(kGuestCsAccessRights, 1 << 15)),
    CASE("ss-type", "SS must be writable", VALUE(kGuestSsAccessRights, 0xc091)),
    CASE("ss-dpl", "the DPL of SS must equal its RPL", SET(kGuestSsAccessRights, 3 << 5)),
    CASE("ds-type-not-accessed", "a usable DS must be accessed", CLEAR(kGuestDsAccessRights, 1)),
    CASE("ds-type-execute-only", "a usable DS must be readable",
         VALUE(kGuestDsAccessRights, 0xc099)),
    CASE("ds-dpl", "the DPL of DS must not be less than its RPL", SET(kGuestDsSelector, 3)),
    CASE("gs-not-present", "P must be 1 for a usable GS", CLEAR(kGuestGsAccessRights, 1 << 7)),
    CASE("fs-reserved-bit", "bits 31:17 of the access rights of a usable FS must be 0",
         SET(kGuestFsAccessRights, 1 << 20)),
    CASE("tr-type-available", "TR must be busy", VALUE(kGuestTrAccessRights, 0x89)),
    CASE("tr-type-16-bit", "TR must be a 64-bit TSS in IA-32e mode",
         VALUE(kGuestTrAccessRights, 0x83)),
    CASE("tr-s", "S must be 0 for TR", SET(kGuestTrAccessRights, 1 << 4)),
    CASE("tr-not-present", "P must be 1 for TR", CLEAR(kGuestTrAccessRights, 1 << 7)),
    CASE("tr-granularity", "G must be 1 if any of bits 31:20 of the limit is 1",
         VALUE(kGuestTrLimit, 0x1fffff)),
    CASE("tr-unusable", "TR must be usable", SET(kGuestTrAccessRights, kRightsUnusable)),
    CASE("ldtr-type", "a usable LDTR must be an LDT", VALUE(kGuestLdtrAccessRights, 0x83)),
    CASE("gdtr-limit", "bits 31:16 of the limit of GDTR must be 0", SET(kGuestGdtrLimit, 1 << 16)),
    CASE("idtr-limit", "bits 31:16 of the limit of IDTR must be 0", SET(kGuestIdtrLimit, 1 << 16)),
    CASE("gdtr-base", "the base of GDTR must be canonical", VALUE(kGuestGdtrBase, NON_CANONICAL)),
    CASE("idtr-base", "the base of IDTR must be canonical", VALUE(kGuestIdtrBase, NON_CANONICAL)),
};

EntryCases guest_segment_cases(void) {
  return (EntryCases){kSegmentCases, sizeof kSegmentCases / sizeof kSegmentCases[0]};
}
